"""Training with Lightning: what each stage trains, on which batches, resumable at any moment."""

from diysink.training.batches import EncodedRecords, RecordsDataModule
from diysink.training.fit import fit, validation_loss
from diysink.training.lengths import Lengths, TooLong, fitting_lengths
from diysink.training.modules import (
    ConnectorTraining,
    LanguageTraining,
    SelectionTraining,
    StageTraining,
    Views,
)
from diysink.training.ranks import LeaderLostError, Ranks, ranks
from diysink.training.schedule import BatchSchedule
from diysink.training.settings import FitSettings, check_started

__all__ = [
    "BatchSchedule",
    "ConnectorTraining",
    "EncodedRecords",
    "FitSettings",
    "LanguageTraining",
    "LeaderLostError",
    "Lengths",
    "Ranks",
    "RecordsDataModule",
    "SelectionTraining",
    "StageTraining",
    "TooLong",
    "Views",
    "check_started",
    "fit",
    "fitting_lengths",
    "ranks",
    "validation_loss",
]
