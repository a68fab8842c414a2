"""What sinks are and do: tensors and predictions in, tidy tables out (paper, section 3)."""

from diysink.analysis.ablation import dissociation, token_ablation
from diysink.analysis.attention import VisualAttention, visual_attention
from diysink.analysis.attention_by_norm import (
    attention_by_kind,
    attention_by_norm,
    norm_edges,
    shuffled_order,
)
from diysink.analysis.key_weights import attention_by_weight, weighted_attention

__all__ = [
    "VisualAttention",
    "attention_by_kind",
    "attention_by_norm",
    "attention_by_weight",
    "dissociation",
    "norm_edges",
    "shuffled_order",
    "token_ablation",
    "visual_attention",
    "weighted_attention",
]
