"""What is seen of trainings while they run: a progress bar each, and their curves in MLflow.

A training may run in another process, or on another machine that shares the disk. It appends the
row of every optimizer step to a file in its scratch folder, which a thread of this process reads.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import rich
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TimeRemainingColumn

from diysink.artifact import Unit

Row = dict[str, Any]
logger = logging.getLogger(__name__)

COUNTS = ("dialogues", "truncated", "left_out")
_STEPS = "steps.jsonl"
_EVERY = 10  # optimizer steps between two points of a curve in MLflow
_POLL = 0.25  # seconds between two looks for new steps


@contextmanager
def reporting(unit: Unit) -> Iterator[Callable[[Row], None]]:
    """A function that takes the row of one optimizer step, for a `Monitor` to see."""
    with (unit.scratch / _STEPS).open("w") as file:  # anew where Ray tries a training again

        def report(row: Row) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()

        yield report


class Monitor:
    """One progress bar for each training, and its curve in the MLflow run that is open."""

    def __init__(self, stage: str, max_steps: int, *, bars: bool) -> None:
        self.stage, self.max_steps = stage, max_steps
        self.run_id: str | None = None
        self.steps: dict[str, int] = {}
        self.tasks: dict[str, TaskID] = {}
        self.progress = Progress(
            "{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            "loss {task.fields[loss]:.3f}",
            console=rich.get_console(),
            disable=not bars,
        )
        self._ended = threading.Event()
        self._lock = threading.Lock()  # of what was seen: a training that is done, and its file
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Monitor":
        import mlflow

        active = mlflow.active_run()  # of this thread alone
        self.run_id = active.info.run_id if active else None
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self.progress.stop()

    def follow(self, units: Sequence[Unit]) -> None:
        """From now on show and log the steps that these trainings report (`reporting`)."""
        files = {unit.name: unit.scratch / _STEPS for unit in units}
        for file in files.values():
            file.unlink(missing_ok=True)  # of a run that was killed
        self._thread = threading.Thread(target=self._read_on, args=(files,), daemon=True)
        self._thread.start()

    def receive(self, name: str, row: Row) -> None:
        """Show and log one optimizer step of a training; one that was seen is passed over."""
        step, loss = row["step"], row["loss"]
        if step <= self.steps.get(name, 0):
            return
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(
                f"{self.stage} {name}", total=self.max_steps, loss=loss
            )
        self.steps[name] = step
        self.progress.update(self.tasks[name], completed=step, loss=loss)
        if step % _EVERY == 0 or step == self.max_steps:
            self._log(name, row, ("loss", "learning_rate"))

    def finish(self, name: str, rows: Sequence[Row]) -> None:
        """Log counts, and the steps that nobody has seen: of a training with own processes."""
        with self._lock:
            for row in rows:
                self.receive(name, row)
            if name in self.tasks:  # one that had fewer steps than the longest of the stage
                self.progress.update(self.tasks[name], total=self.steps[name])
        if rows:
            self._log(name, rows[-1], COUNTS)

    def _log(self, name: str, row: Row, keys: Sequence[str]) -> None:
        import mlflow

        if self.run_id is not None:
            prefix = f"{self.stage}-{name.replace('/', '-')}"
            metrics = {f"{prefix}-{key}": row[key] for key in keys}
            mlflow.log_metrics(metrics, step=row["step"], run_id=self.run_id)

    def _read_on(self, files: dict[str, Path]) -> None:
        places = dict.fromkeys(files, 0)
        while not self._ended.wait(_POLL):
            for name, file in files.items():
                try:
                    places[name] = self._read(name, file, places[name])
                except Exception:  # `finish` logs all rows of a training once more
                    logger.warning("steps of %s are not shown", name, exc_info=True)

    def _read(self, name: str, file: Path, place: int) -> int:
        """Show what was added to a file; the place to which it was read."""
        try:
            with file.open("rb") as opened:
                if opened.seek(0, os.SEEK_END) < place:  # begun anew
                    place = 0
                opened.seek(place)
                lines = opened.read()
        except FileNotFoundError:  # not begun yet, or done
            return place
        whole = lines[: lines.rfind(b"\n") + 1]
        with self._lock:
            for line in whole.splitlines():
                self.receive(name, json.loads(line))
        return place + len(whole)
