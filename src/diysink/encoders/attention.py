"""Attention received by each token, without eager attention and without keeping any matrix."""

import torch
from jaxtyping import Float
from torch import Tensor

from diysink.architectures import Attended

BUDGET = 2**24  # elements of attention in memory at a time (64 MiB in float32)


def attention_received(seen: Attended) -> Float[Tensor, "batch tokens"]:
    """How much attention one block pays to each token, as a share of all that it pays.

    The column means of softmax(q k * scaling + bias), over queries and heads, in chunks of queries:
    the same numbers as ``output_attentions`` under eager attention, for this block only.

    Args:
        seen: the block's attention, as `diysink.architectures.seen_attention` shows it.

    Returns:
        Float32, each row adding up to 1 over all tokens.
    """
    batch, heads, queries, _ = seen.query.shape
    tokens = seen.key.shape[2]
    key = seen.key.repeat_interleave(heads // seen.key.shape[1], dim=1).transpose(-1, -2)
    query = seen.query * seen.scaling
    bias = query.new_zeros(1, 1, 1, 1) if seen.bias is None else seen.bias.to(query.dtype)
    bias = bias.expand(-1, -1, queries, -1)
    received = torch.zeros(batch, tokens, dtype=torch.float32, device=query.device)
    size = max(1, BUDGET // (batch * heads * tokens))
    for part, more in zip(*(torch.split(one, size, dim=2) for one in (query, bias)), strict=True):
        scores = part @ key + more
        received += scores.softmax(dim=-1, dtype=torch.float32).sum(dim=(1, 2))
    return received / (heads * queries)
