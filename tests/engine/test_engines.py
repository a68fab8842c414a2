"""What every engine does: results come back as they are done, and how work ends."""

import logging
import os
import pickle
import signal
import threading
import time
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from diysink.engine import LocalEngine, RayEngine, WorkerDiedError, make_engine, worker

ENGINES = ["here", "local", "ray"]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    one = {
        "here": lambda: LocalEngine(0),
        "local": lambda: LocalEngine(2),
        "ray": lambda: RayEngine(2, max_retries=0),
    }[request.param]()
    yield one
    one.close()


@pytest.fixture
def elsewhere(engine):
    if engine.workers == 0:
        pytest.skip("there is no other process")
    return engine


def square(task):
    logging.getLogger("diysink.test").warning("at %d", task)
    return task * task, os.getpid()


def fail(task):
    raise KeyError("broken")


def die(task):
    os.kill(os.getpid(), signal.SIGKILL)


def note_and_stay(folder, task):
    (folder / str(task)).write_text(str(os.getpid()))
    time.sleep(600)


def loaded_in(model, task):
    return os.getpid(), id(model), len(model)


def gone(pids):
    return not any(Path(f"/proc/{pid}/stat").exists() for pid in pids)


def until(condition, seconds=60):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_an_error_is_the_same_in_another_process():
    error = WorkerDiedError("It died. Run again.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_results_and_logs_come_back(engine, capfd, caplog, monkeypatch):
    monkeypatch.setattr(worker, "highest_bytes", 0)
    with caplog.at_level(logging.INFO):
        done = dict(engine.run(square, range(5)))
    assert {task: found for task, (found, _) in done.items()} == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}
    assert (os.getpid() in {pid for _, pid in done.values()}) is (engine.workers == 0)
    if engine.workers:
        assert worker.highest_bytes > 2**20
        until(lambda: "diysink.test: at" in capfd.readouterr().err)  # Ray shows like lines once


def test_an_error_is_its_own_with_the_traceback_of_where_it_was(elsewhere):
    with pytest.raises(KeyError, match="broken") as caught:
        list(elsewhere.run(fail, [1]))
    assert "in fail" in str(caught.value.__cause__)


def test_tasks_are_asked_for_when_there_is_room(engine):
    """Endless tasks: memory stays flat however many there are."""
    asked = []
    tasks = (asked.append(number) or number for number in count())
    results = engine.run(square, tasks)
    for _ in range(5):
        next(results)
    assert len(asked) <= 5 + 2 * engine.workers
    results.close()


def test_a_worker_that_dies_is_an_error_and_the_next_run_has_others(elsewhere):
    with pytest.raises(WorkerDiedError, match="What was finished is kept"):
        list(elsewhere.run(die, [1, 2]))
    assert [task for task, _ in elsewhere.run(square, [3])] == [3]


def test_a_consumer_that_stops_ends_the_work_at_once(elsewhere, tmp_path):
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    def interrupt():
        until(lambda: len(list(tmp_path.iterdir())) == 2)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, stop)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(Stop):
            list(elsewhere.run(partial(note_and_stay, tmp_path), range(4)))
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    pids = [path.read_text() for path in tmp_path.iterdir()]
    assert len(pids) == 2  # none of those that waited has begun
    until(lambda: gone(pids))


def test_workers_stay_warm(elsewhere):
    pids = [{pid for _, (_, pid) in elsewhere.run(square, range(4))} for _ in range(2)]
    assert pids[0] & pids[1]


def test_engines_by_name():
    assert make_engine("local", 0).workers == 0
    assert isinstance(make_engine("ray", 1), RayEngine)
    for name in ("local", "ray"):
        with pytest.raises(ValueError, match="must be 0"):
            make_engine(name, -1)


def test_ray_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ImportError, match=r"diysink\[scale\]"):
        list(RayEngine().run(square, [1]))
