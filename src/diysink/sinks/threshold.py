"""The threshold that decides which tokens are sinks: of the norm, or of its ratio to the image's.

Images may differ in the scale of their norms, so that a norm that only sinks have in one is common
in another. Inside an image the ratio to its median norm does not depend on the scale; the median,
because a few sinks do not move it.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Threshold:
    """From which norm a visual token is a sink.

    Attributes:
        tau: an L2 norm, or a multiple of the median norm of the image; None: no token is a sink.
        relative: whether it is such a multiple. The image is the one that the norms are given of:
            all its tiles together, unless an intervention goes through tiles one by one.
    """

    tau: float | None
    relative: bool = False

    def mask(self, norms: Float[Tensor, "*images tokens"]) -> Bool[Tensor, "*images tokens"]:
        """Which tokens are sinks.

        Args:
            norms: of each image's visual tokens; a token with NaN is none.
        """
        if self.tau is None:
            return torch.zeros_like(norms, dtype=torch.bool)
        return (relative_norms(norms) if self.relative else norms) >= self.tau

    def times(self, factor: float) -> "Threshold":
        """A multiple of it."""
        return replace(self, tau=None if self.tau is None else self.tau * factor)

    def __str__(self) -> str:
        if self.tau is None:
            return "no threshold"
        times = " times the median norm of their image" if self.relative else ""
        return f"norms of at least {self.tau:.3g}{times}"


def relative_norms(norms: Float[Tensor, "*images tokens"]) -> Float[Tensor, "*images tokens"]:
    """Norms over the median norm of their image (of an even number, the lower of the middle two).

    Args:
        norms: of each image's visual tokens; NaN counts for nothing and stays.

    Examples:
        >>> relative_norms(torch.tensor([[1.0, 2.0, 8.0], [30.0, 10.0, torch.nan]]))
        tensor([[0.5000, 1.0000, 4.0000],
                [3.0000, 1.0000,    nan]])
    """
    ordered = norms.sort(dim=-1).values  # NaN comes last
    middle = (norms.isfinite().sum(-1, keepdim=True) - 1).clamp(min=0) // 2
    median = ordered.gather(-1, middle).clamp(min=torch.finfo(norms.dtype).tiny)
    return norms / median
