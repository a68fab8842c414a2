"""What sinks are and do: tensors and predictions in, tidy tables out (paper, section 3)."""

from diysink.analysis.ablation import dissociation, token_ablation
from diysink.analysis.attention import VisualAttention, visual_attention
from diysink.analysis.attention_by_norm import (
    attention_by_kind,
    attention_by_norm,
    norm_edges,
    shuffled_order,
)

__all__ = [
    "VisualAttention",
    "attention_by_kind",
    "attention_by_norm",
    "dissociation",
    "norm_edges",
    "shuffled_order",
    "token_ablation",
    "visual_attention",
]
