"""Attention received by each token, without eager attention and without keeping any matrix."""

import torch
from jaxtyping import Float
from torch import Tensor

BUDGET = 2**24  # elements of attention in memory at a time (64 MiB in float32)


def attention_received(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch groups tokens head_dim"],
    mask: Tensor | None = None,
    scaling: float | None = None,
) -> Float[Tensor, "batch tokens"]:
    """How much attention one block pays to each token, as a share of all that it pays.

    The column means of softmax(q k * scaling + mask), over queries and heads, in chunks of queries:
    the same numbers as ``output_attentions`` under eager attention, for this block only.

    Args:
        query, key, mask, scaling: as `diysink.architectures.seen_attention` shows them.

    Returns:
        Float32, each row adding up to 1 over all tokens.
    """
    batch, heads, queries, head_dim = query.shape
    tokens = key.shape[2]
    key = key.repeat_interleave(heads // key.shape[1], dim=1).transpose(-1, -2)
    query = query * (head_dim**-0.5 if scaling is None else scaling)
    added = _added(mask, query).expand(-1, -1, queries, -1)
    received = torch.zeros(batch, tokens, dtype=torch.float32, device=query.device)
    size = max(1, BUDGET // (batch * heads * tokens))
    for part, more in zip(*(torch.split(one, size, dim=2) for one in (query, added)), strict=True):
        scores = part @ key + more
        received += scores.softmax(dim=-1, dtype=torch.float32).sum(dim=(1, 2))
    return received / (heads * queries)


def _added(mask: Tensor | None, query: Tensor) -> Float[Tensor, "#batch #heads #queries #tokens"]:
    """What a mask adds to scores."""
    if mask is None:
        return query.new_zeros(1, 1, 1, 1)
    if mask.dtype == torch.bool:
        return query.new_zeros(()).where(mask, -torch.inf)
    return mask.to(query.dtype)
