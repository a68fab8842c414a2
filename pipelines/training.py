"""Trainings of a stage: independent of each other, so side by side, each from where it was killed.

On a CPU each has one thread, whatever their number: so the result is the same to the last bit, and
two trainings on two cores take little longer than one on both.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import rich
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TimeRemainingColumn

from diysink.artifact import Unit, Workspace, run_units, write_json
from pipelines.schema import NumProcesses

if TYPE_CHECKING:
    from diysink.model import AnswerGenerator, Assembled
    from diysink.training import EncodedRecords, StageTraining
    from pipelines.shared import Trainer, Training

Row = dict[str, Any]
Report = Callable[[Row], None]
"""Takes the row of one optimizer step: step, loss, learning_rate."""

_PRELOAD = ("diysink.training", "pipelines.training", "kedro.framework.cli")
DIALOGUES = "dialogues.json"
COUNTS = ("dialogues", "truncated", "left_out")
_EVERY = 10  # optimizer steps between two points of a curve in MLflow


def train_units(
    stage: str,
    work: Workspace,
    units: Sequence[str],
    train: Callable[[Unit, Report], list[Row]],
    trainer: "Trainer",
    max_steps: int,
    num_processes: NumProcesses,
) -> tuple[Path, list[Row]]:
    """Train every unit that is not finished yet; return the folder of results and all curves.

    Args:
        stage: its name, for its metrics in MLflow.
        work: where the stage keeps its work.
        units: names of the trainings, ``<what>/seed<n>``.
        train: trains one, writes its result and returns its curve; can be pickled.
        trainer: settings of Lightning's trainer.
        max_steps: optimizer steps of each training.
        num_processes: how many train at once; ``auto``: one on each core, or one on a GPU.

    Raises:
        WorkerDiedError: a process was killed, perhaps for memory.
    """
    from diysink.engine import in_processes

    most = processes_of(trainer, num_processes)
    with Monitor(stage, max_steps, bars=trainer.enable_progress_bar) as monitor:

        def run(missing: Sequence[Unit]) -> Iterator[tuple[Unit, list[Row]]]:
            count = min(most, len(missing))
            for unit, rows in in_processes(
                partial(_train, train, trainer),
                missing,
                count if count > 1 else 0,
                receive=monitor.receive,
                preload=_PRELOAD,
            ):
                monitor.finish(unit.name, rows)
                yield unit, rows

        try:
            return run_units(work, units, run)
        finally:
            _encoded.clear()


def processes_of(trainer: "Trainer", num_processes: NumProcesses) -> int:
    """How many trainings run at once."""
    if num_processes != "auto":
        return num_processes
    if not on_cpu(trainer) or is_distributed(trainer):
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_cpu(trainer: "Trainer") -> bool:
    """Whether Lightning will train on the CPU."""
    import torch

    return trainer.accelerator == "cpu" or (
        trainer.accelerator == "auto" and not torch.accelerator.is_available()
    )


def is_distributed(trainer: "Trainer") -> bool:
    """Whether one training has several processes of its own."""
    return trainer.devices != 1 or trainer.strategy != "auto"


def _train(
    train: Callable[[Unit, Report], list[Row]],
    trainer: "Trainer",
    unit: Unit,
    send: Callable[[Any], None],
) -> list[Row]:
    import torch

    from diysink.engine import threads

    with threads(1 if on_cpu(trainer) else torch.get_num_threads()):
        return train(unit, partial(_report, send, unit.name))


def _report(send: Callable[[Any], None], name: str, row: Row) -> None:
    send((name, row))


class Monitor:
    """One progress bar for each training, and its curve in the MLflow run that is open."""

    def __init__(self, stage: str, max_steps: int, *, bars: bool) -> None:
        self.stage, self.max_steps = stage, max_steps
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

    def __enter__(self) -> "Monitor":
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def receive(self, message: tuple[str, Row]) -> None:
        """Show and log one optimizer step of a training."""
        import mlflow

        name, row = message
        step, loss = row["step"], row["loss"]
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(
                f"{self.stage} {name}", total=self.max_steps, loss=loss
            )
        self.steps[name] = step
        self.progress.update(self.tasks[name], completed=step, loss=loss)
        if mlflow.active_run() and (step % _EVERY == 0 or step == self.max_steps):
            prefix = f"{self.stage}-{name.replace('/', '-')}"
            metrics = {f"{prefix}-{key}": row[key] for key in ("loss", "learning_rate")}
            mlflow.log_metrics(metrics, step=step)

    def finish(self, name: str, rows: Sequence[Row]) -> None:
        """Log counts, and the steps that nobody reported: of a training with own processes."""
        import mlflow

        for row in rows:
            if row["step"] > self.steps.get(name, 0):
                self.receive((name, row))
        if rows and mlflow.active_run():
            prefix = f"{self.stage}-{name.replace('/', '-')}"
            counts = {f"{prefix}-{key}": rows[-1][key] for key in COUNTS}
            mlflow.log_metrics(counts, step=rows[-1]["step"])


_encoded: dict[tuple[Any, ...], "EncodedRecords"] = {}  # of this process: what was used last


def encoded_records(
    records: Path, settings: "Training", cache_size: int, model: "Assembled | AnswerGenerator"
) -> "EncodedRecords":
    """A stage's records in the tokens and pixels of a model, encoded once for several of them.

    Args:
        records: folder of all splits.
        settings: of the stage.
        cache_size: how many encoded records stay in memory.
        model: all models of a stage have the same parts; connectors may give other numbers of
            tokens.
    """
    from diysink.model import training_length

    max_length = training_length(model.model.config, settings.max_length)
    key = (records, settings.split, max_length, model.chat_encoder.image_tokens)
    if key not in _encoded:
        _encoded.clear()
        _encoded[key] = encoded_split(records / settings.split, settings, model, cache_size)
    return _encoded[key]


def encoded_split(
    split: Path, settings: "Training", model: "Assembled | AnswerGenerator", cache_size: int = 0
) -> "EncodedRecords":
    """A split in the tokens and pixels of a model, for this use alone.

    Args:
        split: folder of its records.
        settings: of the stage.
        model: whose tokens and pixels.
        cache_size: how many encoded records stay in memory.
    """
    from diysink.model import training_length
    from diysink.records import Records
    from diysink.training import EncodedRecords

    max_length = training_length(model.model.config, settings.max_length)
    encoders = model.chat_encoder, model.image_processor
    return EncodedRecords(Records(split), *encoders, cache_size, max_length, settings.too_long)


def fit_records(
    training: "StageTraining",
    data: "EncodedRecords",
    settings: "Training",
    seed: int,
    unit: Unit,
    report: Report,
) -> list[Row]:
    """Train with Lightning, from the last checkpoint if there is one; return the curve.

    Each row has the numbers of dialogues that were trained on, truncated and left out; their ids
    are in ``dialogues.json`` in the folder of the result.

    Args:
        training: what is trained.
        data: the records.
        settings: of the stage.
        seed: seed of the order of the records.
        unit: the training: its folders for checkpoints and for the result.
        report: called at every optimizer step.
    """
    from diysink.training import RecordsDataModule, fit

    batches = RecordsDataModule(
        data,
        batch_size=settings.batch_size,
        num_batches=training.max_steps * settings.trainer.accumulate_grad_batches,
        seed=seed,
        num_workers=settings.num_workers,
    )
    # A training's own processes have no way back to the display.
    distributed = is_distributed(settings.trainer)
    rows = fit(training, batches, settings.trainer, unit.scratch, None if distributed else report)
    write_json(unit.result / DIALOGUES, data.lengths.plain())
    # In the order that a finished unit's rows have when they are read again.
    return [dict(sorted((row | data.lengths.counts).items())) for row in rows]


def dialogues(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """For each training how many dialogues it had, and how many were truncated or left out."""
    return {row["unit"]: {name: row[name] for name in COUNTS} for row in rows}


def optimization(settings: "Training", seed: int, max_steps: int) -> dict[str, Any]:
    """The options of :class:`diysink.training.StageTraining` in the settings of a stage."""
    names = {"learning_rate", "warmup_ratio", "weight_decay", "betas"}
    return settings.model_dump(include=names) | {"seed": seed, "max_steps": max_steps}
