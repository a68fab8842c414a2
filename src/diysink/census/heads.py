"""What every head does with the token that it attends to most: the test of arXiv 2606.08105.

Per image and head, where A is the attention: s = argmax_j mean_i A_ij is the head's sink. There is
a *sink event* if at least 90 % of the queries give s an attention of .5 or more. What token j adds
to the residual stream is u_j = gamma W_O v_j: value, this head's part of the output projection,
layer scale. The norm of u_s over the mean norm of the other u_j says whether s adds anything, and
the stable rank of the head's outputs U = A u whether all queries get multiples of one vector.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from diysink.architectures import Attended
from diysink.architectures.hooks import output_weights

SHARE, ATTENTION = 0.9, 0.5  # of the queries; to the sink
BUDGET = 2**24  # elements of attention in memory at a time (64 MiB in float32)
_ITERATIONS = 24  # of the power method; it ends sooner where one direction is far ahead


@dataclass(frozen=True)
class Heads:
    """What the heads of one block did.

    Attributes:
        received: c_j, attention that each token receives, as a share of all that its head pays.
        sink: s.
        top: the share that s receives.
        event: whether there is a sink event.
        ratio: norm of u_s over the mean norm of the others; NaN where that is not known.
        rank: stable rank of U; NaN without an event, or where the output projection is not known.
    """

    received: Float[Tensor, "batch heads tokens"]
    sink: Int[Tensor, "batch heads"]
    top: Float[Tensor, "batch heads"]
    event: Bool[Tensor, "batch heads"]
    ratio: Float[Tensor, "batch heads"]
    rank: Float[Tensor, "batch heads"]


@torch.no_grad()
def heads_of(seen: Attended, basis: Float[Tensor, "heads value_dim value_dim"] | None) -> Heads:
    """Look at one call of a bidirectional attention, a few heads at a time.

    Args:
        seen: the call; every query sees every token.
        basis: of this attention's `output_basis`; None: not known.
    """
    batch, heads, length, _ = seen.query.shape
    shared = heads // seen.key.shape[1]
    query, key = seen.query.flatten(0, 1), seen.key.repeat_interleave(shared, 1).flatten(0, 1)
    bias = seen.bias.expand(batch, heads, -1, -1).flatten(0, 1) if seen.bias is not None else None
    received = torch.empty(batch * heads, length, device=query.device)
    share = torch.empty(batch * heads, device=query.device)
    step = max(1, BUDGET // length**2)
    for start in range(0, batch * heads, step):
        rows = slice(start, start + step)
        scores = query[rows] @ key[rows].mT
        scores.mul_(seen.scaling)
        if bias is not None:
            scores += bias[rows]
        attention = scores.softmax(-1, dtype=torch.float32)
        received[rows] = attention.mean(1)
        at = received[rows].argmax(-1)[:, None, None].expand(-1, length, 1)
        share[rows] = (attention.gather(2, at)[..., 0] >= ATTENTION).float().mean(1)
    received = received.view(batch, heads, length)
    top, sink = received.max(-1)
    event = share.view(batch, heads) >= SHARE
    nothing = torch.full_like(top, torch.nan)
    if basis is None:
        return Heads(received, sink, top, event, nothing, nothing)
    values = seen.value.repeat_interleave(shared, 1).float()
    norms = torch.linalg.vector_norm(values @ basis, dim=-1)
    of_sink = norms.gather(2, sink[..., None])[..., 0]
    others = (norms.sum(2) - of_sink) / max(1, length - 1)
    rank = nothing
    if event.any():
        outputs = (
            seen.output.transpose(1, 2)[event].float() @ basis.expand(batch, -1, -1, -1)[event]
        )
        rank[event] = stable_rank(outputs)
    return Heads(received, sink, top, event, of_sink / others.clamp(min=1e-20), rank)


def output_basis(
    block: nn.Module, attention: nn.Module, heads: int
) -> Float[Tensor, "heads value_dim value_dim"] | None:
    """For each head a square matrix L with |v L| = |W v| for every value v, and the same angles.

    W is the head's part of the output projection, times the layer scale where there is one.
    Lengths, angles and so singular values of W v are those of v L, in far fewer dimensions.
    None: the output projection is not known.
    """
    output = output_weights(block, attention)
    if output is None or output.shape[1] % heads:
        return None
    weights = output.float().reshape(len(output), heads, -1).transpose(0, 1)
    eigenvalues, vectors = torch.linalg.eigh(weights.mT @ weights)
    return vectors * eigenvalues.clamp(min=0).sqrt()[:, None]


def stable_rank(matrices: Float[Tensor, "*sets rows columns"]) -> Float[Tensor, "*sets"]:
    """Sum of the squared singular values over the largest of them.

    The largest comes from the power method, which is exact to a thousandth where one is ahead and
    finds too little where none is.

    >>> bool(stable_rank(torch.ones(1, 5, 3)).sub(1).abs() < 1e-5)
    True
    """
    gram = matrices.mT @ matrices
    total = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    direction = gram.sum(-1) + gram.diagonal(dim1=-2, dim2=-1)
    for _ in range(_ITERATIONS):
        direction = torch.nn.functional.normalize(direction, dim=-1)
        direction = (gram @ direction[..., None])[..., 0]
    largest = torch.linalg.vector_norm(direction, dim=-1)
    return total / largest.clamp(min=1e-20)
