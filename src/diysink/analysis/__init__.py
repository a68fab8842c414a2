"""What sinks are and do: tensors and predictions in, tidy tables out."""

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
from diysink.analysis.key_weights import attention_by_weight, weighted_attention
from diysink.analysis.massive import MassiveRule

__all__ = [
    "MassiveRule",
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
