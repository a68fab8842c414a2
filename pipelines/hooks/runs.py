"""MLflow runs end with the status they deserve, also those whose process could not say so.

Each run of this checkout leaves a note before it begins, with a lock that the system frees when its
process dies in whatever way. A run carries its note's name as a tag from its creation on. The next
run ends those that are still open without anybody holding their note.
"""

import json
import logging
import os
import uuid
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from pipelines.ending import at_end
from pipelines.interrupts import check

FOLDER = "mlruns/.running"
TAG = "note"  # of a run: the name of its note
CONTEXT = "MLFLOW_RUN_CONTEXT"  # JSON of tags that MLflow gives a run when it makes it
_log = logging.getLogger(__name__)
_open: dict[str, Path] = {}  # of this process: runs whose end is not settled, and their notes


class Intents:
    """Writes the note before there is a run: a kill may come at any moment."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """End orphans; leave this run's note, locked until it ends."""
        from diysink.artifact import FileLock, write_json

        project = str(run_params["project_path"])
        folder = Path(project) / FOLDER
        end_orphans(folder, project)
        note = folder / f"{uuid.uuid4().hex}.json"
        lock = FileLock(note.with_suffix(".lock"))
        lock.acquire()
        write_json(note, {"project": project, "status": "KILLED"})
        before = os.environ.get(CONTEXT)
        tags = (json.loads(before) if before else {}) | {TAG: note.stem}
        os.environ[CONTEXT] = json.dumps(tags)

        def forget() -> None:
            os.environ.pop(CONTEXT, None)
            if before is not None:
                os.environ[CONTEXT] = before
            told = note not in _open.values()
            for run_id in [run_id for run_id, its in _open.items() if its == note]:
                del _open[run_id]
            if told:
                note.unlink(missing_ok=True)
            lock.release(remove=told)

        at_end(forget)


class Runs:
    """Knows which run has begun; between nodes, notices a signal that something swallowed."""

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Remember the active run, if it is this one."""
        import mlflow

        active = mlflow.active_run()
        if active is not None and (name := active.data.tags.get(TAG)):
            note = Path(run_params["project_path"]) / FOLDER / f"{name}.json"
            _open[active.info.run_id] = note

    @hook_impl
    def before_node_run(self) -> None:
        """Code that catches everything may have caught an interruption too."""
        check()


def settle(status: str) -> None:
    """Give every run that this process has begun its last status: FINISHED, FAILED or KILLED.

    Where MLflow cannot be told, the note keeps the status for the next run to tell.
    """
    import mlflow
    from mlflow import MlflowClient

    from diysink.artifact import write_json

    for note in _open.values():
        write_json(note, json.loads(note.read_text()) | {"status": status})
    while mlflow.active_run():
        mlflow.end_run(status)
    for run_id in list(_open):
        client = MlflowClient()
        if client.get_run(run_id).info.status != status:
            client.set_terminated(run_id, status)
        del _open[run_id]


def end_orphans(folder: Path, project: str) -> list[str]:
    """Set runs whose process is gone to what their note says, KILLED as a rule; their ids.

    Args:
        folder: of the notes.
        project: this checkout. Notes of another place came with a copy: what they are about is in
            the copied database, or somebody else's to say.
    """
    from mlflow.exceptions import MlflowException

    from diysink.artifact import FileLock, sweep

    ended: list[str] = []
    found = {path.stem for kind in ("json", "lock") for path in folder.glob(f"[!.]*.{kind}")}
    for note in (folder / f"{stem}.json" for stem in sorted(found)):
        lock = FileLock(note.with_suffix(".lock"))
        if not lock.acquire(wait=False):
            continue
        sweep(note)
        try:
            said = json.loads(note.read_text())
            ended += _end(note.stem, str(said["status"]), here=said["project"] == project)
        except FileNotFoundError:  # killed before it was written, or after it was removed
            pass
        except (OSError, MlflowException) as error:
            _log.warning("MLflow could not be told that a run was killed (%s)", error)
            lock.release()
            continue
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("%s is no note of a run (%s): removed", note, error)
        note.unlink(missing_ok=True)
        lock.release(remove=True)
    return ended


def _end(name: str, status: str, *, here: bool) -> list[str]:
    """End the open runs that carry this note's name."""
    import mlflow
    from mlflow import MlflowClient

    from pipelines.store import local_database

    # A copied checkout has a copy of a local database; on a server the run may be alive elsewhere.
    if not here and local_database(mlflow.get_tracking_uri()) is None:
        return []
    client = MlflowClient()
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(
        experiments, f"attributes.status = 'RUNNING' and tags.`{TAG}` = '{name}'"
    )
    for run in runs:
        client.set_terminated(run.info.run_id, status)
        _log.warning("MLflow run %s had not ended; it is %s now", run.info.run_id, status)
    return [run.info.run_id for run in runs]
