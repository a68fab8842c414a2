"""MLflow runs end with the status they deserve, also those whose process could not say so.

Each run of this checkout holds a lock, which the system frees when its process dies in whatever
way. The next run marks those that are still open without anybody holding theirs.
"""

import json
import logging
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from pipelines.ending import at_end

FOLDER = "mlruns/.running"
_log = logging.getLogger(__name__)
_open: dict[str, str] = {}  # of this process: id of a run whose end is not settled -> its store


class Runs:
    """Notes that a run has begun, and marks runs that a kill or a power cut has left open."""

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Mark orphans; hold this run's lock until it ends."""
        import mlflow

        from diysink.artifact import FileLock, write_json

        folder = Path(run_params["project_path"]) / FOLDER
        mark_orphans(folder)
        if (active := mlflow.active_run()) is None:
            return
        run_id, store = active.info.run_id, mlflow.get_tracking_uri()
        lock = FileLock(folder / f"{run_id}.lock", what=f"the MLflow run {run_id}")
        lock.acquire()
        note = folder / f"{run_id}.json"
        write_json(note, {"run_id": run_id, "store": store})
        _open[run_id] = store

        def forget() -> None:
            note.unlink(missing_ok=True)
            lock.release(remove=True)

        at_end(forget)


def settle(status: str) -> None:
    """Give every run that this process has begun its last status: FINISHED, FAILED or KILLED."""
    import mlflow
    from mlflow import MlflowClient

    while mlflow.active_run():
        mlflow.end_run(status)
    while _open:
        run_id, store = _open.popitem()
        client = MlflowClient(store)
        if client.get_run(run_id).info.status != status:
            client.set_terminated(run_id, status)


def mark_orphans(folder: Path) -> list[str]:
    """Set runs whose process is gone to KILLED; their ids."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from diysink.artifact import FileLock

    marked = []
    for note in sorted(folder.glob("*.json")):
        lock = FileLock(note.with_suffix(".lock"))
        if note.name.startswith(".") or not lock.acquire(wait=False):
            continue
        try:
            said = json.loads(note.read_text())
            client = MlflowClient(said["store"])
            if client.get_run(said["run_id"]).info.status == "RUNNING":
                client.set_terminated(said["run_id"], "KILLED")
                client.set_tag(said["run_id"], "interrupted", "the process ended without a word")
                marked.append(said["run_id"])
                _log.warning("MLflow run %s was killed; it is marked so now", said["run_id"])
        except (OSError, ValueError, KeyError, MlflowException) as error:
            _log.warning("A run that was left open could not be marked (%s): %s", note, error)
        note.unlink(missing_ok=True)
        lock.release(remove=True)
    return marked
