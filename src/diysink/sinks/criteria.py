"""What counts as a sink: three observables, kept apart.

The criterion of arXiv 2510.08510 for vision sinks is the L2 norm. Later work (arXiv 2609.32808)
warns that the ratio of the largest dimension to the root mean square flags nearly all visual tokens
in most models, so the norm decides the mask, while massive activation and attention received are
measured beside it and enter the verdict (see `diysink.sinks.calibration`).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MASSIVE_VALUE = 100.0  # arXiv 2402.17762: |x| >= 100 and |x| >= 1000 x the median magnitude
MASSIVE_RATIO = 1000.0


def token_norms(hidden: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens"]:
    """L2 norms, accumulated in float32 whatever the dtype (bfloat16 is 0.3 % off)."""
    return torch.linalg.vector_norm(hidden, dim=-1, dtype=torch.float32)


def has_massive_activation(
    hidden: Float[Tensor, "batch tokens dim"],
) -> Bool[Tensor, "batch tokens"]:
    """Tokens with a dimension that is massive by the rule of arXiv 2402.17762.

    The magnitude is at least 100, and at least 1000 times the median magnitude of the image's
    hidden states.
    """
    magnitude = hidden.detach().abs().float()
    largest = magnitude.amax(dim=-1)
    large = largest >= MASSIVE_VALUE
    if not large.any():  # the rule, and in most encoders it spares the median
        return large
    median = magnitude.flatten(1).median(dim=1).values[:, None]
    return large & (largest >= MASSIVE_RATIO * median)


def attention_relative_to_even(
    attention: Float[Tensor, "batch tokens"], tokens: int
) -> Float[Tensor, "batch tokens"]:
    """Attention received over what a token would get if attention were spread evenly.

    Args:
        attention: shares, as `diysink.encoders.Observation` has them.
        tokens: over how many tokens attention is spread.

    Returns:
        1 where a token gets its even share.
    """
    return attention * tokens
