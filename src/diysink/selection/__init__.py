"""Which visual tokens, at what weight, for this question."""

from diysink.selection.base import SelectionParts, TrainedSelection
from diysink.selection.choice import Choice, KeyGates, QuestionBatch, Route, Selection
from diysink.selection.controls import InvertedSelection, OracleSelection, RandomSelection
from diysink.selection.cot import (
    CoTSelection,
    CoTTemplates,
    CoTTrueSelection,
    MultipleChoice,
    Scorer,
    ScoreRule,
    Scores,
)
from diysink.selection.fixed import FixedSelection
from diysink.selection.gates import (
    ConstantGates,
    LayerGates,
    LayerGatesSettings,
    LSGOptions,
    LSGSelection,
)
from diysink.selection.reweight import (
    Reweight,
    ReweightOptions,
    ReweightSelection,
    ReweightSettings,
)
from diysink.selection.sentence import (
    LANGUAGE_MODEL,
    LanguageModelSentences,
    SentenceEncoder,
    load_sentences,
)
from diysink.selection.storage import TRAINED_SELECTIONS, load_selection, save_selection
from diysink.selection.weighted import WeightedSelection

__all__ = [
    "LANGUAGE_MODEL",
    "TRAINED_SELECTIONS",
    "Choice",
    "CoTSelection",
    "CoTTemplates",
    "CoTTrueSelection",
    "ConstantGates",
    "FixedSelection",
    "InvertedSelection",
    "KeyGates",
    "LSGOptions",
    "LSGSelection",
    "LanguageModelSentences",
    "LayerGates",
    "LayerGatesSettings",
    "MultipleChoice",
    "OracleSelection",
    "QuestionBatch",
    "RandomSelection",
    "Reweight",
    "ReweightOptions",
    "ReweightSelection",
    "ReweightSettings",
    "Route",
    "ScoreRule",
    "Scorer",
    "Scores",
    "Selection",
    "SelectionParts",
    "SentenceEncoder",
    "TrainedSelection",
    "WeightedSelection",
    "load_selection",
    "load_sentences",
    "save_selection",
]
