"""Runs in processes of their own, stopped by a signal at a chosen moment, and what they leave."""

import hashlib
import multiprocessing
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Times, ids of runs and numbers of versions are no results; the report shows all of them.
NOT_RESULTS = (
    "timings/",
    "runs/",
    "environment.json",
    "registration.json",
    "report.html",
    "decision.json",
)

server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload(["benchmarks.robustness.preload"])


def make_project(folder: Path) -> Path:
    """A project with this checkout's configuration and nothing else; the code is imported."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    (folder / "conf" / "local").mkdir()
    return folder


def copied(project: Path, target: Path) -> Path:
    """A copy of a project; what is published is linked, since nothing changes it in place."""
    shutil.copytree(project, target, copy_function=_link)
    return target


def _link(source: str, target: str) -> str:
    if source.endswith((".db", ".lock", ".json")):
        return str(shutil.copy2(source, target))
    os.link(source, target)
    return target


class Run:
    """``kedro run --env test --pipelines ...`` in a new process.

    Args:
        project: where.
        pipelines: their names.
        at: which change of a folder's list of names (rename, exchange, unlink, rmdir) brings the
            signal; None: none does.
        by: the signal.
        parameters: as after ``--params``.
        from_nodes: as after ``--from-nodes``.
    """

    def __init__(
        self,
        project: Path,
        pipelines: list[str],
        *,
        at: int | None = None,
        by: int = signal.SIGKILL,
        parameters: dict[str, Any] | None = None,
        from_nodes: list[str] | None = None,
    ) -> None:
        self.changes = server.Value("i", 0)
        self.output = project / "output.txt"
        which = {"pipeline_names": pipelines, "from_nodes": from_nodes}
        arguments = (project, which, at, int(by), parameters or {}, self.changes, self.output)
        self.process = server.Process(target=_run, args=arguments)
        self.process.start()

    def signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.process.is_alive() and self.process.pid is not None:
            os.kill(self.process.pid, number)

    def wait(self, seconds: float) -> int | None:
        """Its exit status (negative: the signal that ended it); None: it hangs, and is killed."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            return None
        return self.process.exitcode


def _run(
    project: Path,
    which: dict[str, Any],
    at: int | None,
    by: int,
    parameters: dict[str, Any],
    changes: Any,
    output: Path,
) -> None:
    from kedro.framework.startup import bootstrap_project

    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.chdir(project)
    bootstrap_project(project)

    from diysink.artifact import atomic, folder
    from pipelines.cli import message
    from pipelines.session import Session

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with changes.get_lock():
                changes.value += 1
                due = changes.value == at
            if due:
                os.kill(os.getpid(), by)
            return change(*arguments, **options)

        return call

    for name in ("rename", "replace", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
    atomic.exchange = folder.exchange = counted(atomic.exchange)  # type: ignore[attr-defined]
    try:
        with Session.create(project_path=project, env="test", runtime_params=parameters) as session:
            session.run(**which)
    except Exception as error:
        print(message(error), flush=True)
        sys.exit(1)


def results(project: Path) -> dict[str, str]:
    """Digest of every file that a run publishes and that depends on nothing but its inputs."""
    found = {}
    data = project / "data"
    for path in sorted(data.rglob("*")):
        name = path.relative_to(data).as_posix()
        if path.is_file() and not name.startswith(".") and not _no_result(name):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _no_result(name: str) -> bool:
    inside = name.removeprefix("08_reporting/")
    return name.startswith("08_reporting/") and inside.startswith(NOT_RESULTS)


def statuses(project: Path) -> list[str]:
    """The status of every MLflow run."""
    with closing(sqlite3.connect(project / "mlruns/mlflow.db", timeout=60)) as database:
        return [row[0] for row in database.execute("select status from runs")]


def leftovers(project: Path) -> list[str]:
    """Temporary files, and unfinished work, which a run that ended well leaves nowhere."""
    work = project / "data" / ".work"
    temporary = [*project.rglob(".tmp-*"), *(project / "mlruns/.running").glob("*")]
    unfinished = list(work.glob("*/*"))
    return [path.relative_to(project).as_posix() for path in (*temporary, *unfinished)]
