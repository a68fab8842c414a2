"""Which visual tokens, at what weight, for this question."""

from diysink.selection.choice import Choice, KeyGates, QuestionBatch, Route, Selection
from diysink.selection.controls import InvertedSelection, OracleSelection, RandomSelection
from diysink.selection.cot import CoTSelection, CoTTemplates, MultipleChoice, Scorer, Scores
from diysink.selection.fixed import FixedSelection
from diysink.selection.gates import ConstantGates, LayerGates, LayerGatesSettings, LSGSelection
from diysink.selection.reweight import Reweight, ReweightSelection, ReweightSettings
from diysink.selection.sentence import (
    LANGUAGE_MODEL,
    LanguageModelSentences,
    SentenceEncoder,
    load_sentences,
)
from diysink.selection.storage import load_selection, save_selection

__all__ = [
    "LANGUAGE_MODEL",
    "Choice",
    "CoTSelection",
    "CoTTemplates",
    "ConstantGates",
    "FixedSelection",
    "InvertedSelection",
    "KeyGates",
    "LSGSelection",
    "LanguageModelSentences",
    "LayerGates",
    "LayerGatesSettings",
    "MultipleChoice",
    "OracleSelection",
    "QuestionBatch",
    "RandomSelection",
    "Reweight",
    "ReweightSelection",
    "ReweightSettings",
    "Route",
    "Scorer",
    "Scores",
    "Selection",
    "SentenceEncoder",
    "load_selection",
    "load_sentences",
    "save_selection",
]
