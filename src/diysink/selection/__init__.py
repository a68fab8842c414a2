"""Which visual tokens, at what weight, for this question (paper, section 4)."""

from diysink.selection.choice import Choice, KeyGates, QuestionBatch, Route, Selection
from diysink.selection.controls import OracleSelection, RandomSelection
from diysink.selection.cot import CoTSelection, CoTTemplates
from diysink.selection.fixed import FixedSelection
from diysink.selection.reweight import Reweight, ReweightSelection, ReweightSettings
from diysink.selection.sentence import SentenceEncoder
from diysink.selection.storage import load_reweight, save_reweight

__all__ = [
    "Choice",
    "CoTSelection",
    "CoTTemplates",
    "FixedSelection",
    "KeyGates",
    "OracleSelection",
    "QuestionBatch",
    "RandomSelection",
    "Reweight",
    "ReweightSelection",
    "ReweightSettings",
    "Route",
    "Selection",
    "SentenceEncoder",
    "load_reweight",
    "save_reweight",
]
