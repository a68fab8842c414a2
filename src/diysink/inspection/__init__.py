"""The sink census of a whole vision-language model: encoder, connector and language model."""

from diysink.inspection.answers import answers_without
from diysink.inspection.flow import Flow, Shown
from diysink.inspection.measured import QUESTION
from diysink.inspection.rows import AttentionRows, attention_rows
from diysink.inspection.run import inspect

__all__ = [
    "QUESTION",
    "AttentionRows",
    "Flow",
    "Shown",
    "answers_without",
    "attention_rows",
    "inspect",
]
