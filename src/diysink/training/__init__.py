"""Training with Lightning: what each stage trains, on which batches, resumable at any moment."""

from diysink.training.batches import BatchSchedule, EncodedRecords, RecordsDataModule
from diysink.training.fit import FitSettings, fit
from diysink.training.modules import (
    ConnectorTraining,
    LanguageTraining,
    SelectionTraining,
    StageTraining,
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
    "fit",
]
