"""Attention received by each token, without eager attention and without keeping any matrix."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

BUDGET = 2**24  # elements of attention in memory at a time (64 MiB in float32)


def attention_received(
    hidden: Float[Tensor, "batch tokens dim"], norm: nn.Module, attention: Any, heads: int
) -> Float[Tensor, "batch tokens"]:
    """How much attention one block pays to each token, as a share of all that it pays.

    The column means of softmax(q k / sqrt(d)), over queries and heads, in chunks of queries: the
    same numbers as ``output_attentions`` under eager attention, for this block only.

    Args:
        hidden: the states that the block reads, with class and register tokens.
        norm: the block's norm before attention.
        attention: the block's attention, with ``q_proj`` and ``k_proj``.
        heads: its number of heads.

    Returns:
        Float32, each row adding up to 1 over all tokens.
    """
    batch, tokens, _ = hidden.shape
    normed = norm(hidden)
    query = attention.q_proj(normed).view(batch, tokens, heads, -1).transpose(1, 2)
    key = attention.k_proj(normed).view(batch, tokens, heads, -1).transpose(1, 2)
    query = query * query.shape[-1] ** -0.5
    received = torch.zeros(batch, tokens, dtype=torch.float32, device=hidden.device)
    for part in query.split(max(1, BUDGET // (batch * heads * tokens)), dim=2):
        scores = part @ key.transpose(-1, -2)
        received += scores.softmax(dim=-1, dtype=torch.float32).sum(dim=(1, 2))
    return received / (heads * tokens)
