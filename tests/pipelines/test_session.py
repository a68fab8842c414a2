"""However a run ends, its exit status, MLflow and the work on disk say so; the next one goes on."""

import json
import os
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from diysink.artifact import beside
from pipelines.hooks.runs import FOLDER, end_orphans
from pipelines.interrupts import Interrupted, check, interruptible
from tests.pipelines.project import kedro_run, make_project, run_in_child, start_child
from tests.pipelines.test_kill import before, contents

# MLflow's and Kedro's plugins, loaded in this process, warn of their own.
pytestmark = pytest.mark.filterwarnings("ignore")


def statuses(project: Path) -> Counter[str]:
    with closing(sqlite3.connect(project / "mlruns/mlflow.db")) as database:
        return Counter(row[0] for row in database.execute("select status from runs"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "move", "by"),
    [
        ("align", 6, signal.SIGTERM),  # inside Lightning's fit
        ("align", 6, signal.SIGINT),
        ("evaluate", 5, signal.SIGTERM),
        ("evaluate", 7, signal.SIGHUP),
        ("prepare", 4, signal.SIGINT),
    ],
)
def test_a_signal_ends_a_run_as_killed_and_the_next_one_goes_on(whole, stage, move, by, tmp_path):
    project = before(whole, stage, tmp_path)
    code, _ = run_in_child(project, stage, move, by)
    assert code == 128 + by
    assert statuses(project) == {"KILLED": 1}
    assert list((project / "data/.work" / stage).iterdir()), "the work that was done is gone"
    assert not list((project / FOLDER).glob("*"))
    code, _ = run_in_child(project, stage)
    assert code == 0
    assert statuses(project) == {"KILLED": 1, "FINISHED": 1}
    assert contents(project, stage) == contents(whole, stage)
    assert not (project / "data/.work" / stage).exists()


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_trainings_side_by_side_end_with_the_run_and_go_on_one_after_another(whole, by, tmp_path):
    """Their processes end with it; from their checkpoints, to the same bits."""
    align = {"max_steps": 40, "trainer": {"every_n_train_steps": 4}}
    project = before(whole, "align", tmp_path)
    run, _ = start_child(project, "align", align=align, num_processes=2)
    while len(list((project / "data/.work/align").glob("*/scratch/*/seed0/step=*.ckpt"))) < 2:
        assert run.is_alive()
        time.sleep(0.02)
    workers = [each.pid for each in psutil.Process(run.pid).children(recursive=True)]
    assert len(workers) >= 3  # two, and loky's own tracker
    os.kill(run.pid, by)
    run.join()
    assert run.exitcode == (143 if by == signal.SIGTERM else -9)
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        time.sleep(0.05)
    units = list((project / "data/.work/align").glob("*/*/seed0.done.json"))
    assert len(units) < 3
    code, _ = run_in_child(project, "align", align=align, num_processes=1)
    fresh = before(whole, "align", tmp_path / "fresh")
    assert (code, run_in_child(fresh, "align", align=align)[0]) == (0, 0)
    assert contents(project, "align") == contents(fresh, "align")


@pytest.mark.slow
def test_a_run_that_was_killed_outright_is_marked_by_the_next(whole, tmp_path):
    project = before(whole, "align", tmp_path)
    assert run_in_child(project, "align", 6) == (-9, 6)
    assert statuses(project) == {"RUNNING": 1}
    assert run_in_child(project, "align")[0] == 0
    assert statuses(project) == {"KILLED": 1, "FINISHED": 1}


@pytest.mark.slow
def test_a_run_that_is_at_work_is_not_taken_for_an_orphan(whole, tmp_path):
    project = before(whole, "align", tmp_path)
    first, counter = start_child(project, "align", **{"align": {"max_steps": 5000}})
    while counter.value < 5:
        assert first.is_alive()
        time.sleep(0.05)
    assert run_in_child(project, "register")[0] == 0  # shares no file that either writes
    assert statuses(project)["RUNNING"] == 1
    first.terminate()
    first.join()
    assert (first.exitcode, statuses(project)) == (143, {"FINISHED": 1, "KILLED": 1})


@pytest.mark.slow
def test_two_runs_of_one_stage_take_turns_and_spare_each_others_work(whole, tmp_path):
    """The shorter one's clean-up once removed what the longer one was at work on."""
    project = before(whole, "align", tmp_path)
    steps = {"align": {"max_steps": 24, "trainer": {"every_n_train_steps": 4}}}
    code, _ = run_in_child(project, "align", 9, signal.SIGTERM, **steps)  # unfinished work of one
    assert code == 143
    unfinished = {p for p in (project / "data/.work/align").iterdir() if p.is_dir()}
    runs = [start_child(project, "align") for _ in range(2)]
    for run, _ in runs:
        run.join()
        assert run.exitcode == 0
    assert contents(project, "align") == contents(whole, "align")
    left = {p for p in (project / "data/.work/align").iterdir() if p.is_dir()}
    assert left == unfinished, "only a run's own work is removed"
    resumed, moves = run_in_child(project, "align", **steps)
    fresh = before(whole, "align", tmp_path / "fresh")
    code, whole_moves = run_in_child(fresh, "align", **steps)
    assert (resumed, code) == (0, 0)
    assert contents(project, "align") == contents(fresh, "align")
    assert moves < whole_moves


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["evaluate", "sinks"])
def test_killed_late_and_while_a_finished_run_clears_its_work(whole, stage, tmp_path):
    """Its name goes first: no later run trusts what is left of it, and nothing stays for ever."""
    project = before(whole, stage, tmp_path)
    moves = run_in_child(project, stage)[1]
    project = before(whole, stage, tmp_path / "again")
    ends = []
    for back in (1, 2, 3, 7):  # the last moves are those of clearing; a later run has fewer in all
        ends.append(run_in_child(project, stage, moves - back)[0])
        assert run_in_child(project, stage)[0] == 0
        assert contents(project, stage) == contents(whole, stage)
        assert not (project / "data/.work" / stage).exists()
    assert ends.count(-9) >= 2


@pytest.mark.slow
def test_two_first_runs_at_once_share_a_new_database(tmp_path):
    project = make_project(tmp_path / "project")
    runs = [start_child(project, "prepare") for _ in range(2)]
    for run, _ in runs:
        run.join()
        assert run.exitcode == 0
    assert statuses(project) == {"FINISHED": 2}


@pytest.mark.slow
def test_killed_while_the_database_is_made(tmp_path):
    project = make_project(tmp_path / "project")
    assert run_in_child(project, "prepare", 1) == (-9, 1)
    assert not (project / "mlruns/mlflow.db").exists()
    assert run_in_child(project, "prepare")[0] == 0
    assert [p.name for p in (project / "mlruns").glob(".tmp-*")] == []


def test_the_first_signal_raises_and_what_swallows_it_is_told_again():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def swallow() -> None:
        with interruptible() as interrupts:
            try:
                signal.raise_signal(signal.SIGTERM)
            except BaseException:
                assert interrupts.received == signal.SIGTERM
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # a second ends at once
            check()

    with pytest.raises(Interrupted) as raised:
        swallow()
    assert (raised.value.code, raised.value.signal) == (143, signal.SIGTERM)
    assert before == {number: signal.getsignal(number) for number in before}


@pytest.mark.parametrize("runner", ["ThreadRunner", "ParallelRunner"])
def test_runners_that_run_nodes_side_by_side_are_refused(runner, tmp_path):
    from kedro import runner as runners
    from kedro.framework.startup import bootstrap_project

    from pipelines.session import Session

    bootstrap_project(make_project(tmp_path))
    with (
        Session.create(project_path=tmp_path) as session,
        pytest.raises(ValueError, match=f"{runner} runs"),
    ):
        session.run(runner=getattr(runners, runner)())


def test_a_preset_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(ValueError, match=r"--env tset: .* There are: .*control.*test"):
        kedro_run(make_project(tmp_path), "prepare", env="tset")


@pytest.fixture
def notes(tmp_path, tracking):
    """Writes notes of runs, as processes that are gone left them; their folder."""
    folder = tmp_path / "running"
    folder.mkdir()
    for name, project in (("mine", "/here"), ("copied", "/elsewhere")):
        note = {"project": project, "status": "KILLED"}
        (folder / f"{name}.json").write_text(json.dumps(note))
    (folder / "told.json").write_text(json.dumps({"project": "/here", "status": "FINISHED"}))
    return folder


def test_open_runs_are_ended_by_their_notes_and_no_others(notes):
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("test").experiment_id
    runs = {
        name: client.create_run(experiment, tags={"note": name} if name else {}).info.run_id
        for name in ("mine", "copied", "told", "somebody-else", "")
    }
    assert sorted(end_orphans(notes, "/here")) == sorted(
        runs[n] for n in ("mine", "copied", "told")
    )
    found = {name: client.get_run(run).info.status for name, run in runs.items()}
    expected = {"mine": "KILLED", "copied": "KILLED", "told": "FINISHED"}
    assert found == expected | {"somebody-else": "RUNNING", "": "RUNNING"}
    assert list(notes.iterdir()) == []


def test_on_a_server_a_copied_note_says_nothing(notes, monkeypatch):
    """The checkout was copied while its run was alive, and that one is not ours to end."""
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("test").experiment_id
    run = client.create_run(experiment, tags={"note": "copied"}).info.run_id
    monkeypatch.setattr("pipelines.store.local_database", lambda uri: None)
    assert end_orphans(notes, "/here") == []
    assert client.get_run(run).info.status == "RUNNING"


def test_notes_that_nobody_can_read_do_not_stop_a_run(notes):
    (notes / "a.json").write_text("{")
    (notes / "c.json").write_text("[]")
    (notes / "d.lock").touch()
    beside(notes / "d.json").touch()
    assert end_orphans(notes, "/here") == []
    assert list(notes.iterdir()) == []


def test_a_note_is_kept_until_mlflow_has_been_told(notes, monkeypatch):
    from mlflow.exceptions import MlflowException

    def away(*_, **__):
        raise MlflowException("the server is away")

    monkeypatch.setattr("mlflow.MlflowClient.search_runs", away)
    assert end_orphans(notes, "/here") == []
    assert len(list(notes.glob("*.json"))) == 3


def test_kedros_plain_session_gives_its_turn_back_too(tmp_path):
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(make_project(tmp_path))
    for _ in range(2):
        with KedroSession.create(project_path=tmp_path, env="test") as session:
            session.run(node_names=["generate_records"])
