"""Work in local processes: what comes back, and how it ends (test_engine.py kills the parent)."""

import logging
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pytest

from diysink.engine import WorkerDiedError, in_processes
from diysink.engine import processes as engine


def square(task, send):
    send((task, os.getpid()))
    logging.getLogger("diysink.test").warning("at %d", task)
    return task * task


def fail(task, send):
    raise KeyError("broken")


def die(task, send):
    os.kill(os.getpid(), signal.SIGKILL)


def note_and_stay(folder, task, send):
    (folder / str(task)).write_text(str(os.getpid()))
    send(task)
    time.sleep(600)


def gone(pids):
    return not any(Path(f"/proc/{pid}/stat").exists() for pid in pids)


def until(condition, seconds=60):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.mark.parametrize("processes", [0, 2])
def test_results_messages_and_logs_come_back(processes, caplog):
    received = []
    with caplog.at_level(logging.INFO):
        done = dict(in_processes(square, range(5), processes, receive=received.append))
    assert done == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}
    assert sorted(task for task, _ in received) == list(range(5))
    assert (os.getpid() in {pid for _, pid in received}) is (processes == 0)
    assert processes == 0 or engine.peak_bytes > 2**20
    logged = [r.getMessage() for r in caplog.records if r.name == "diysink.test"]
    assert sorted(logged) == [f"at {task}" for task in range(5)]


def test_an_error_is_its_own_with_the_traceback_of_where_it_was():
    with pytest.raises(KeyError, match="broken") as caught:
        list(in_processes(fail, [1], 1))
    assert "in fail" in str(caught.value.__cause__)


def test_a_killed_worker_is_an_error():
    with pytest.raises(WorkerDiedError, match="killed or ran out of memory"):
        list(in_processes(die, [1, 2], 2))


def test_a_worker_killed_while_work_is_handed_out_is_an_error(monkeypatch):
    def broken(*_):
        raise BrokenProcessPool("A child process terminated abruptly")

    monkeypatch.setattr(ProcessPoolExecutor, "submit", broken)
    with pytest.raises(WorkerDiedError, match="killed or ran out of memory"):
        list(in_processes(square, [1], 1))


def test_a_consumer_that_stops_ends_the_work_at_once(tmp_path):
    class Stop(Exception):
        pass

    def stop(message):
        if len(list(tmp_path.iterdir())) == 2:
            raise Stop

    with pytest.raises(Stop):
        list(in_processes(partial(note_and_stay, tmp_path), range(4), 2, receive=stop))
    pids = [path.read_text() for path in tmp_path.iterdir()]
    assert len(pids) == 2  # none of those that waited has begun
    until(lambda: gone(pids))
