"""A project of its own for a test: this checkout's configuration, empty data, its own tracking."""

import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.pipelines.offline.command import Offline

ROOT = Path(__file__).resolve().parents[2]


def make_project(folder: Path) -> Path:
    """A project in ``folder`` with this checkout's conf; the code is imported from here."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    mine = shutil.ignore_patterns("local")  # whoever runs the tests may have settings there
    shutil.copytree(ROOT / "conf", folder / "conf", dirs_exist_ok=True, ignore=mine)
    (folder / "conf" / "local").mkdir(exist_ok=True)
    return folder


def kedro_run(project: Path, *pipelines: str, env: str = "test", **params: Any) -> None:
    """``kedro run --pipelines ... --env ... --params ...`` inside ``project``, in this process."""
    from kedro.framework.startup import bootstrap_project

    from pipelines.session import Session

    before = Path.cwd()
    os.chdir(project)
    try:
        bootstrap_project(project)
        with Session.create(project_path=project, env=env, runtime_params=params) as session:
            session.run(pipeline_names=list(pipelines) or None)
    finally:
        os.chdir(before)


# --- In a process of its own, to be killed ---------------------------------------------------

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["tests.pipelines.preload"])


def _child(
    project: Path,
    pipeline: str,
    kill_at: int | None,
    by: int,
    params: dict[str, Any],
    counter: Any,
) -> None:
    """Run ``pipeline``; get a signal at the ``kill_at``-th time that a file takes its place."""
    for number in (signal.SIGINT, signal.SIGHUP):  # whoever started the tests may ignore them
        signal.signal(number, signal.SIG_DFL)
    replace, rename = Path.replace, Path.rename

    def dying(move: Any) -> Any:
        def moved(self: Path, target: Any) -> Any:
            with counter.get_lock():
                counter.value += 1
                due = counter.value == kill_at
            if due:  # not while the lock is held: whoever reads the counter would wait for ever
                os.kill(os.getpid(), by)
            return move(self, target)

        return moved

    Path.replace, Path.rename = dying(replace), dying(rename)  # type: ignore[method-assign]
    kedro_run(project, *pipeline.split(","), **params)


def start_child(
    project: Path,
    pipeline: str,
    kill_at: int | None = None,
    by: int = signal.SIGKILL,
    **params: Any,
) -> tuple[Any, Any]:
    """Run pipelines (``a,b``) in a fresh process; the process, and its counter of moved files."""
    counter = _server.Value("i", 0)
    arguments = (project, pipeline, kill_at, int(by), params, counter)
    process = _server.Process(target=_child, args=arguments)
    process.start()
    return process, counter


def run_in_child(
    project: Path,
    pipeline: str,
    kill_at: int | None = None,
    by: int = signal.SIGKILL,
    **params: Any,
) -> tuple[int, int]:
    """Run pipelines in a fresh process; its exit code and how many files took their place.

    A file that takes its place (the rename at the end of an atomic write) is where what is on disk
    changes for a reader: dying just before each of them is dying at every distinguishable moment.
    """
    process, counter = start_child(project, pipeline, kill_at, by, **params)
    process.join()
    return process.exitcode or 0, counter.value


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A project in which the default pipeline ran once, in the test environment and offline.

    All processes of pytest-xdist share it: the first one that needs it makes it. No test writes in
    it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "whole"
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            project = make_project(folder / "project")
            done = Offline(project).python("-m", "kedro", "run", "--env", "test")
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "done").touch()
    return folder / "project"
