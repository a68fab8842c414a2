"""Run a stage's training with Lightning: device, precision, checkpoints, resuming, curves."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from torch.utils.data import DataLoader

from diysink.artifact import write_json
from diysink.training.batches import EncodedRecords, RecordsDataModule
from diysink.training.checkpoints import AtomicCheckpointIO, newest
from diysink.training.modules import StageTraining
from diysink.training.ranks import launcher
from diysink.training.settings import FitSettings, check_started
from diysink.training.strategies import strategy_of


class TrainingEndedError(RuntimeError):
    """A training ended before its last step without an error."""


class Curves(Callback):
    """Loss and learning rate of every optimizer step; part of the checkpoint.

    At the end they are written to ``path``: training may have run in processes of its own.
    """

    def __init__(self, path: Path, report: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.path = path
        self.report = report
        self.rows: list[dict[str, Any]] = []

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the step when an optimizer step was made."""
        if trainer.global_step > len(self.rows):
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            row = {"step": trainer.global_step, "loss": module.step_loss, "learning_rate": rate}
            self.rows.append(row)
            if self.report is not None:
                self.report(self.rows[-1])

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Write the rows; one process does."""
        if trainer.is_global_zero:
            write_json(self.path, self.rows)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The rows of the run that is resumed."""
        self.rows = list(state["rows"])


def fit(
    training: StageTraining,
    data: RecordsDataModule,
    settings: FitSettings,
    folder: Path,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Train to the end of the schedule, from the last checkpoint in ``folder`` if there is one.

    Where torchrun or srun started several processes, all of them call this with the same arguments,
    on a disk that all of them see. Then rank 0 has the trained model; what the others have is not
    to be used (of ``fsdp2``, parts).

    Args:
        training: what is trained.
        data: its batches.
        settings: of Lightning's trainer.
        folder: for checkpoints.
        report: called with the row of every optimizer step, in place of Lightning's progress bar;
            only where the training has no processes of its own.

    Returns:
        One row per optimizer step: step, loss, learning_rate.

    Raises:
        TrainingEndedError: Lightning came back before the last step.
        ValueError: ``fsdp2`` for a stage that leaves the language model as it is; another number
            of processes was started than the settings name.
    """
    check_started(settings)
    if settings.strategy == "fsdp2" and not training.shardable:
        raise ValueError(
            f"fsdp2 is for stage 2, which trains the language model; {type(training).__name__} "
            "trains little of the model: use ddp"
        )
    if settings.gradient_checkpointing:
        # Of the reentrant kind, frozen inputs would cut the graph.
        kind = {"use_reentrant": False}
        training.model.activation_checkpointing_enable(kind)
    curves = Curves(folder / "curves.json", report)
    checkpoint = ModelCheckpoint(
        folder,
        filename="{step}",
        every_n_train_steps=settings.every_n_train_steps,
        save_top_k=2,  # the one before, where the newest turns out to be damaged
        monitor="step",
        mode="max",
        save_on_train_epoch_end=False,
    )
    shows_bar = settings.enable_progress_bar and report is None
    with quiet():
        bar = [RichProgressBar(refresh_rate=10)] if shows_bar else []
        trainer = _trainer(training, settings, folder, [curves, checkpoint, *bar])
        trainer.fit(training, data, ckpt_path=_last(trainer, training, folder), weights_only=True)
    training.gather()
    if settings.gradient_checkpointing:
        training.model.activation_checkpointing_disable()
    rows: list[dict[str, Any]] = curves.rows
    if curves.path.exists():  # else resumed from the very last step: nothing was left to train
        rows = json.loads(curves.path.read_text())
    if len(rows) < training.max_steps:
        raise TrainingEndedError(
            f"the training ended after {len(rows)} of {training.max_steps} steps; its last "
            f"checkpoint is in {folder}. Run again to go on."
        )
    return rows


def validation_loss(
    training: StageTraining, data: EncodedRecords, settings: FitSettings, batch_size: int
) -> float:
    """Mean loss over the answers' tokens of records that were not trained on, over all tokens.

    Args:
        training: what was trained.
        data: the records.
        settings: of Lightning's trainer; one device is enough.
        batch_size: records at a time.
    """
    loader = DataLoader(data, batch_size=batch_size, collate_fn=data.collate)
    with quiet():
        trainer = lightning.Trainer(
            accelerator=settings.accelerator,
            devices=1,
            precision=settings.precision,
            plugins=[LightningEnvironment()],  # alone, whatever started this process
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        [found] = trainer.validate(training, loader, verbose=False)
    return float(found["validation_loss"])


def _last(trainer: lightning.Trainer, training: StageTraining, folder: Path) -> Path | None:
    """The checkpoint to go on from. One process looks, which may put damaged ones aside."""
    if trainer.strategy.launcher is not None or trainer.world_size == 1:  # one process until now
        return newest(folder)
    trainer.strategy.connect(training)
    trainer.strategy.setup_environment()  # the processes find each other
    found: Path | None = trainer.strategy.broadcast(
        newest(folder) if trainer.is_global_zero else None
    )
    return found


def _trainer(
    training: StageTraining,
    settings: FitSettings,
    folder: Path,
    callbacks: list[Callback],
) -> lightning.Trainer:
    started = launcher() if settings.launched else None
    return lightning.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=strategy_of(settings.strategy, settings.processes),
        precision=settings.precision,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        gradient_clip_val=settings.gradient_clip_val,
        max_steps=training.max_steps,
        max_epochs=1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # BatchSchedule gives every process its own part
        logger=False,
        plugins=[AtomicCheckpointIO(), LightningEnvironment() if started is None else started],
        callbacks=callbacks,
        enable_progress_bar=any(isinstance(each, RichProgressBar) for each in callbacks),
        enable_model_summary=False,
        default_root_dir=folder,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's advertisements and its advice on workers (``num_workers`` is ours)."""
    # Lightning under its old name, which a tracking library may import, takes the messages over.
    names = ("lightning.pytorch", "lightning.fabric", "pytorch_lightning", "lightning_fabric")
    talkers = [logging.getLogger(name) for name in names]
    levels = [talker.level for talker in talkers]
    for talker in talkers:
        talker.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not have many workers")
            warnings.filterwarnings("ignore", ".*exists and is not empty")
            warnings.filterwarnings("ignore", ".*smaller than the logging interval")
            # Validation is a pass of its own, after the training.
            warnings.filterwarnings("ignore", ".*have no `val_dataloader`")
            # One process does, of several.
            warnings.filterwarnings("ignore", ".*sync_dist=True")
            # Resumed at the very end: there is nothing left to train.
            warnings.filterwarnings("ignore", "Total length of .* across ranks is zero")
            warnings.filterwarnings("ignore", ".*in eval mode at the start")  # frozen: intended
            # BatchSchedule goes on at the exact batch; only the loader does not know of it.
            warnings.filterwarnings("ignore", ".*This can cause unreliable results")
            warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\)")
            yield
    finally:
        for talker, level in zip(talkers, levels, strict=True):
            talker.setLevel(level)
