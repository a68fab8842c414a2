"""What every connector takes and gives: visual tokens and which of them are sinks, both times.

A connector may give another number of tokens than it got (a resampler does), so it says itself
which of its tokens stand for sinks; everything after it (order, routes, weights) goes by that.
"""

from abc import abstractmethod
from typing import ClassVar, Literal

from jaxtyping import Bool, Float
from torch import Tensor, nn

Arrangement = Literal["natural", "front", "end"]


class Connector(nn.Module):
    """Vision width to language width, knowing which tokens are sinks.

    A subclass's constructor takes ``in_dim`` and ``out_dim``, ``bias`` and ``activation`` if it has
    use for them, and options of its own, each with a default.

    Attributes:
        arrangement: where its sinks stand if nobody says otherwise.
        two_parts: whether it has ``sink`` and ``nonsink``, each of which learns from its own
            tokens alone in stage 1.
    """

    arrangement: ClassVar[Arrangement] = "natural"
    two_parts: ClassVar[bool] = False

    @abstractmethod
    def forward(
        self, features: Float[Tensor, "*batch in_dim"], sinks: Bool[Tensor, "*batch"]
    ) -> tuple[Float[Tensor, "*out out_dim"], Bool[Tensor, "*out"]]:
        """Tokens for the language model, and which of them are sinks."""

    def tokens_out(self, tokens: int) -> int:
        """How many tokens it gives for an image of ``tokens`` visual tokens: here, as many."""
        return tokens
