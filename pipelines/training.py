"""Trainings of a stage: independent of each other, so side by side, each from where it was killed.

On a CPU each has one thread, whatever their number: so the result is the same to the last bit, and
two trainings on two cores take little longer than one on both.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diysink.artifact import Unit, Workspace, run_units, write_json
from pipelines.engines import engine_of
from pipelines.monitor import COUNTS, Monitor, Row, reporting
from pipelines.schema import NumProcesses

if TYPE_CHECKING:
    from diysink.engine import EngineName
    from diysink.model import AnswerGenerator, Assembled
    from diysink.training import EncodedRecords, StageTraining
    from pipelines.shared import Ray, Trainer, Training

Report = Callable[[Row], None]
"""Takes the row of one optimizer step: step, loss, learning_rate."""

DIALOGUES = "dialogues.json"


def train_units(
    stage: str,
    work: Workspace,
    units: Sequence[str],
    train: Callable[[Unit, Report], list[Row]],
    trainer: "Trainer",
    max_steps: int,
    num_processes: NumProcesses,
    engine: "EngineName" = "local",
    ray: "Ray | None" = None,
) -> tuple[Path, list[Row]]:
    """Train every unit that is not finished yet; return the folder of results and all curves.

    Args:
        stage: its name, for its metrics in MLflow.
        work: where the stage keeps its work. On Ray, a folder that all machines share.
        units: names of the trainings, ``<what>/seed<n>``.
        train: trains one, writes its result and returns its curve; can be pickled.
        trainer: settings of Lightning's trainer.
        max_steps: optimizer steps of each training.
        num_processes: how many train at once; ``auto``: one on each core, or one on a GPU; on Ray,
            as many as the cluster has room for.
        engine: where they train.
        ray: the cluster.

    Raises:
        WorkerDiedError: a process was killed, perhaps for memory.
    """
    if trainer.launched:  # its processes are there already
        engine = "local"
    with Monitor(stage, max_steps, bars=trainer.enable_progress_bar) as monitor:

        def run(missing: Sequence[Unit]) -> Iterator[tuple[Unit, list[Row]]]:
            workers = workers_of(trainer, num_processes, len(missing), engine)
            monitor.follow(missing)
            device = "cpu" if on_cpu(trainer) else "auto"
            runner = engine_of(engine, workers, ray, device)
            for unit, rows in runner.run(
                partial(_train_together if trainer.launched else _train, train, trainer), missing
            ):
                monitor.finish(unit.name, rows)
                yield unit, rows

        try:
            return run_units(work, units, run)
        finally:
            forget_records()


def workers_of(
    trainer: "Trainer", num_processes: NumProcesses, trainings: int, engine: "EngineName"
) -> int:
    """Workers of the engine for some trainings; one at a time is done in this process."""
    if engine == "ray":
        return 0 if num_processes == "auto" else num_processes
    count = min(processes_of(trainer, num_processes), trainings)
    return count if count > 1 else 0


def processes_of(trainer: "Trainer", num_processes: NumProcesses) -> int:
    """How many trainings run at once."""
    if trainer.launched:
        return 1
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
    return trainer.strategy != "auto"


def is_global_zero(trainer: "Trainer") -> bool:
    """Whether this process writes what a training made; of several that train, rank 0 does.

    Elsewhere a number of a process says nothing of a training: srun also starts Ray's workers.
    """
    from diysink.training import ranks

    team = ranks() if trainer.launched else None
    return team is None or team.rank == 0


def _train_together(
    train: Callable[[Unit, Report], list[Row]], trainer: "Trainer", unit: Unit
) -> list[Row]:
    """In rank 0: all processes that torchrun or srun started train the unit."""
    from diysink.training import ranks

    if (team := ranks()) is not None:
        team.tell(_train, train, trainer, unit)
    return _train(train, trainer, unit)


def _train(train: Callable[[Unit, Report], list[Row]], trainer: "Trainer", unit: Unit) -> list[Row]:
    import torch

    from diysink.device import threads

    reports = reporting(unit) if is_global_zero(trainer) else nullcontext(_nowhere)
    with threads(1 if on_cpu(trainer) else torch.get_num_threads()), reports as report:
        return train(unit, report)


def _nowhere(row: Row) -> None:
    """Takes what rank 0 reports as well."""


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
    images = settings.image_backend, settings.decode
    key = (records, settings.split, max_length, model.chat_encoder.image_tokens, images)
    if key not in _encoded:
        _encoded.clear()
        _encoded[key] = encoded_split(records / settings.split, settings, model, cache_size)
    return _encoded[key]


def forget_records() -> None:
    """Free the memory of what `encoded_records` keeps."""
    _encoded.clear()


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
    from diysink.encoders import Pixels
    from diysink.model import training_length
    from diysink.records import Records
    from diysink.training import EncodedRecords

    images, draft = model.image_processor, None
    if isinstance(images, Pixels):
        draft = images.side if settings.decode == "draft" else None
        images = images.on(settings.image_backend)
    return EncodedRecords(
        Records(split),
        model.chat_encoder,
        images,
        cache_size,
        training_length(model.model.config, settings.max_length),
        settings.too_long,
        draft,
    )


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
        group_by_length=settings.group_by_length,
    )
    # Processes that a training starts itself have no way back to the display.
    spawned = is_distributed(settings.trainer) and not settings.trainer.launched
    rows = fit(training, batches, settings.trainer, unit.scratch, None if spawned else report)
    if is_global_zero(settings.trainer):
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
