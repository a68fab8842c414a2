"""Training with Lightning: what each stage trains, on which batches, resumable at any moment."""

from diysink.training.batches import BatchSchedule, EncodedRecords, RecordsDataModule
from diysink.training.fit import FitSettings, fit, validation_loss
from diysink.training.modules import (
    ConnectorTraining,
    LanguageTraining,
    SelectionTraining,
    StageTraining,
    Views,
)

__all__ = [
    "BatchSchedule",
    "ConnectorTraining",
    "EncodedRecords",
    "FitSettings",
    "LanguageTraining",
    "RecordsDataModule",
    "SelectionTraining",
    "StageTraining",
    "Views",
    "fit",
    "validation_loss",
]
