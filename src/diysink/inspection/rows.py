"""A few rows of a causal attention, from what the model itself attends with.

A language model's attention is a matrix of all tokens by all tokens, for each head: eager attention
keeps it whole. Who looks at an image is asked of a few queries only, so that only their rows are
computed, a few at a time, and heads are averaged at once.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from diysink.architectures import Attended, UnsupportedModelError

BUDGET = 2**21  # numbers of scores in memory at a time (8 MiB in float32)
OFF = {torch.float32: 1e-2, torch.float64: 1e-2}  # of the outputs' size; half precision rounds more
OFF_HALF = 1e-1


@dataclass(frozen=True)
class AttentionRows:
    """Rows of one layer's attention for one sequence.

    Attributes:
        weights: mean over heads; a row adds up to 1, in float32.
        visible: how many keys each query may attend to.
    """

    weights: Float[Tensor, "rows keys"]
    visible: Float[Tensor, " rows"]

    @property
    def over_even(self) -> Float[Tensor, "rows keys"]:
        """What each key gets, over an even share among all that the query may attend to."""
        return self.weights * self.visible[:, None]


@torch.no_grad()
def attention_rows(
    module: nn.Module, seen: Attended, queries: Int[Tensor, " rows"]
) -> AttentionRows:
    """What some queries attend to, in one call of an attention with one sequence.

    Args:
        module: that attended. Without a mask it is causal, unless it says otherwise.
        seen: the call, as `diysink.architectures.seen_attention` shows it.
        queries: places of the queries.

    Raises:
        UnsupportedModelError: a batch; or an attention that does something else than a softmax of
            the scores that it shows (soft caps, extra sinks), so that its rows would be wrong.
    """
    batch, heads, length, _ = seen.query.shape
    groups, keys = seen.key.shape[1:3]
    if batch != 1:
        raise UnsupportedModelError(f"{batch} sequences at a time; rows are of one.")
    step = max(1, BUDGET // (heads * keys))
    parts, visible = [], []
    for part in torch.split(queries, step):
        bias = _bias(module, seen, part, length)
        query = (seen.query[0][:, part] * seen.scaling).reshape(groups, -1, seen.query.shape[-1])
        scores = (query @ seen.key[0].mT).view(heads, len(part), keys).float()
        weights = (scores + bias).softmax(-1)
        parts.append(weights.mean(0))
        visible.append((bias > torch.finfo(seen.query.dtype).min / 2).sum(-1).float().amax(0))
        if part[-1] == queries[-1]:
            _check(module, weights[:, -1], seen, int(part[-1]))
        del scores, weights
    return AttentionRows(torch.cat(parts), torch.cat(visible))


def _bias(
    module: nn.Module, seen: Attended, queries: Int[Tensor, " rows"], length: int
) -> Float[Tensor, "#heads rows keys"]:
    """What is added to the scores of these queries; of the mask, no other rows are converted."""
    keys = torch.arange(seen.key.shape[2], device=seen.query.device)
    if seen.mask is None:
        bias = torch.zeros(1, len(queries), len(keys), device=keys.device)
        if length > 1 and getattr(module, "is_causal", True):
            bias.masked_fill_(keys > queries[:, None] + len(keys) - length, -torch.inf)
        return bias
    if not isinstance(seen.mask, Tensor) or seen.mask.dim() != 4:
        raise UnsupportedModelError(
            f"{type(module).__name__} is given a mask of another kind than sdpa's: load the model "
            "with attn_implementation='sdpa' or 'eager'"
        )
    mask = seen.mask[0][:, queries, : len(keys)]
    if mask.dtype == torch.bool:
        return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, -torch.inf)
    return mask.float()


def _check(
    module: nn.Module, weights: Float[Tensor, "heads keys"], seen: Attended, query: int
) -> None:
    """Hold one row's outputs against those that the model itself got."""
    value = seen.value[0].float()
    groups = value.shape[0]
    ours = weights.view(groups, -1, weights.shape[-1]) @ value
    own = seen.output[0, query].float()
    off = torch.linalg.vector_norm(ours.reshape(own.shape) - own)
    limit = OFF.get(seen.query.dtype, OFF_HALF) * torch.linalg.vector_norm(value, dim=-1).amax()
    if not off <= limit * len(own) ** 0.5:
        raise UnsupportedModelError(
            f"{type(module).__name__} does more than a softmax of the scores that it shows (a soft "
            "cap, sinks of its own), so that its attention cannot be told from outside"
        )
