"""MLflow runs end with the status they deserve, also those whose process could not say so.

Each run of this checkout has a note, with a lock that the system frees when its process dies in
whatever way. The next run marks those that are still open without anybody holding theirs.
"""

import json
import logging
import time
import uuid
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from pipelines.ending import at_end

FOLDER = "mlruns/.running"
_SOON = 60_000  # milliseconds from a note to the run that its process began, if it came so far
_log = logging.getLogger(__name__)
_open: dict[str, str] = {}  # of this process: id of a run whose end is not settled -> its store
_note: list[Path] = []  # of the run that is about to begin


class Intents:
    """Writes the note before there is a run: a kill may come at any moment."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Mark orphans; leave this run's note, locked until it ends."""
        import mlflow

        from diysink.artifact import FileLock, write_json

        folder = Path(run_params["project_path"]) / FOLDER
        mark_orphans(folder)
        note = folder / f"{uuid.uuid4().hex}.json"
        lock = FileLock(note.with_suffix(".lock"))
        lock.acquire()
        said = {"store": mlflow.get_tracking_uri(), "since": _now(), "run_id": None}
        write_json(note, said | {"project_path": run_params["project_path"]})
        _note[:] = [note]

        def forget() -> None:
            note.unlink(missing_ok=True)
            lock.release(remove=True)

        at_end(forget)


class Runs:
    """Notes which run has begun."""

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Put the active run's id into the note."""
        import mlflow

        from diysink.artifact import write_json

        if (active := mlflow.active_run()) is None:
            return
        _open[active.info.run_id] = mlflow.get_tracking_uri()
        while _note:
            note = _note.pop()
            write_json(note, json.loads(note.read_text()) | {"run_id": active.info.run_id})


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

    from diysink.artifact import FileLock, sweep

    marked = []
    found = {path.stem for kind in ("json", "lock") for path in folder.glob(f"[!.]*.{kind}")}
    notes = [folder / f"{stem}.json" for stem in sorted(found)]
    for note in notes:
        lock = FileLock(note.with_suffix(".lock"))
        if not lock.acquire(wait=False):
            continue
        sweep(note)
        try:
            said = json.loads(note.read_text())
            client = MlflowClient(said["store"])
            for run_id in [said["run_id"]] if said["run_id"] else _begun(client, said, notes):
                if client.get_run(run_id).info.status == "RUNNING":
                    client.set_terminated(run_id, "KILLED")
                    client.set_tag(run_id, "interrupted", "the process ended without a word")
                    marked.append(run_id)
                    _log.warning("MLflow run %s was killed; it is marked so now", run_id)
        except FileNotFoundError:  # killed before it was written, or after it was removed
            pass
        except (OSError, ValueError, KeyError, TypeError, MlflowException) as error:
            _log.warning("A run that was left open could not be marked (%s): %s", note, error)
        note.unlink(missing_ok=True)
        lock.release(remove=True)
    return marked


def _begun(client: Any, said: dict[str, Any], notes: list[Path]) -> list[str]:
    """Runs of a process that was killed after it began one and before it noted which."""
    others = [json.loads(note.read_text()).get("run_id") for note in notes if note.is_file()]
    experiments = [each.experiment_id for each in client.search_experiments()]
    since = int(said["since"])
    found = client.search_runs(
        experiments,
        "attributes.status = 'RUNNING' and "
        f"attributes.start_time >= {since} and attributes.start_time <= {since + _SOON}",
    )
    mine = (None, said["project_path"])  # its tags may not have been written yet
    return [
        run.info.run_id
        for run in found
        if run.info.run_id not in others and run.data.tags.get("project_path") in mine
    ]


def _now() -> int:
    return time.time_ns() // 1_000_000
