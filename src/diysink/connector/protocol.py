"""What every connector takes and gives: visual tokens and which of them are sinks, both times.

A connector may give another number of tokens than it got (a resampler does), so it says itself
which of its tokens stand for sinks; everything after it (order, routes, weights) goes by that.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

Projected = tuple[Float[Tensor, "*batch out out_dim"], Bool[Tensor, "*batch out"]]


@runtime_checkable
class Connector(Protocol):
    """Vision width to language width, knowing which tokens are sinks."""

    def __call__(
        self, features: Float[Tensor, "images tokens in_dim"], sinks: Bool[Tensor, "images tokens"]
    ) -> Projected:
        """Tokens for the language model, and which of them are sinks."""
        ...

    def tokens_out(self, tokens: int) -> int:
        """How many tokens it gives for an image of ``tokens`` visual tokens."""
        ...
