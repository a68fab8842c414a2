"""What sinks are and do: one module per question, one tidy table each."""

from typing import Any

from diysink.analysis.ablation import Ablation
from diysink.analysis.attention import Attention
from diysink.analysis.attention_by_layer import AttentionByLayer
from diysink.analysis.base import Analysis, Context, Looks, Settings
from diysink.analysis.criteria import Criteria
from diysink.analysis.dimensions import Dimensions
from diysink.analysis.function import Function
from diysink.analysis.massive import MassiveRule
from diysink.analysis.probes import Probes
from diysink.analysis.relevance import Relevance
from diysink.analysis.replacement import Replacement
from diysink.analysis.taxonomy import Taxonomy
from diysink.analysis.weights import Weights
from diysink.analysis.words import Words

ANALYSES: dict[str, type[Analysis[Any]]] = {
    "ablation": Ablation,
    "attention": Attention,
    "attention_by_layer": AttentionByLayer,
    "weights": Weights,
    "criteria": Criteria,
    "dimensions": Dimensions,
    "function": Function,
    "replacement": Replacement,
    "relevance": Relevance,
    "words": Words,
    "probes": Probes,
    "taxonomy": Taxonomy,
}
"""Every analysis by name: of its parameters, its table and its section."""

__all__ = [
    "ANALYSES",
    "Analysis",
    "Context",
    "Looks",
    "MassiveRule",
    "Settings",
]
