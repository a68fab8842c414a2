"""What sinks are and do: one module per question, one tidy table each."""

from typing import Any

from diysink.analysis.ablation import dissociation, token_ablation
from diysink.analysis.attention import VisualAttention, visual_attention
from diysink.analysis.attention_by_layer import attention_by_layer, layer_attention
from diysink.analysis.attention_by_norm import (
    attention_by_kind,
    attention_by_norm,
    norm_edges,
    shuffled_order,
)
from diysink.analysis.attention_curve import attention_curve, norm_attention
from diysink.analysis.base import Analysis, Context, Looks, Settings
from diysink.analysis.criteria import Criteria
from diysink.analysis.key_weights import attention_by_weight, weighted_attention
from diysink.analysis.massive import MassiveRule
from diysink.analysis.replacement import Replacement
from diysink.analysis.taxonomy import Taxonomy

ANALYSES: dict[str, type[Analysis[Any]]] = {
    "criteria": Criteria,
    "replacement": Replacement,
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
    "VisualAttention",
    "attention_by_kind",
    "attention_by_layer",
    "attention_by_norm",
    "attention_by_weight",
    "attention_curve",
    "dissociation",
    "layer_attention",
    "norm_attention",
    "norm_edges",
    "shuffled_order",
    "token_ablation",
    "visual_attention",
    "weighted_attention",
]
