"""Which hidden dimensions are massive, and which tokens they light up.

The criterion of arXiv 2510.08510 inside the language model is max |x[d]| / RMS(x) >= 20 over d in
D_sink, for Llama-2-7B with D_sink = {1415, 2533}. Two things keep it from any other model. The
largest ratio that a state can have is the root of its width: 20 is out of reach below a width of
400, so that the threshold is scaled with the root (20 at the width of 4096: one dimension holds a
tenth of the state's energy). And D_sink is not known: here it is what is massive at the sequence's
first token, the one sink that every such language model grows by itself.

Over all dimensions instead of D_sink the rule flags most tokens of many models (arXiv 2609.32808):
so a dimension is asked to stand out from the median dimension as well.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

WIDTH = 4096  # of Llama-2-7B, the model that the paper's threshold of 20 is for


@dataclass(frozen=True)
class MassiveRule:
    """When a dimension counts as massive.

    Attributes:
        ratio: of its magnitude to the root mean square of the state, at a width of 4096; scaled
            with the root of the width.
        times: of its ratio to the median dimension's, at least. A random state at least 64
            wide stays below it; of those 16 wide, one in some hundreds does not.
        dimensions: D_sink if it is known; None: what is massive at the first token.
    """

    ratio: float = 20.0
    times: float = 10.0
    dimensions: tuple[int, ...] | None = None

    def threshold(self, width: int) -> float:
        """The ratio asked for at a width.

        >>> MassiveRule().threshold(4096), MassiveRule().threshold(1024)
        (20.0, 10.0)
        """
        return float(self.ratio * (width / WIDTH) ** 0.5)

    def massive(self, ratios: Float[Tensor, "*sets dim"]) -> Bool[Tensor, "*sets dim"]:
        """Which dimensions are massive, from ratios averaged over tokens."""
        median = ratios.median(-1, keepdim=True).values
        return (ratios >= self.threshold(ratios.shape[-1])) & (ratios >= self.times * median)

    def sink_dimensions(
        self,
        states: Float[Tensor, "batch length dim"],
        first: Int[Tensor, " batch"],
        text: Bool[Tensor, " batch"],
    ) -> Int[Tensor, " found"]:
        """D_sink of one layer; of no first token that is text, no dimensions.

        Args:
            states: what enters the layer.
            first: place of each item's first true token.
            text: whether that token is text.

        Raises:
            ValueError: the known dimensions are not all there.
        """
        width = states.shape[-1]
        if self.dimensions is not None:
            if outside := [d for d in self.dimensions if not 0 <= d < width]:
                raise ValueError(
                    f"sink dimensions {outside}, but states have dimensions 0 to {width - 1}: they "
                    "are those of another model. Give null to find them."
                )
            return torch.tensor(self.dimensions, device=states.device)
        at_first = states[torch.arange(len(states), device=states.device), first][text]
        return self.massive(ratios(at_first).mean(0)).nonzero()[:, 0]

    def massive_tokens(
        self, states: Float[Tensor, "*tokens dim"], dimensions: Int[Tensor, " found"]
    ) -> Bool[Tensor, "*tokens"]:
        """Tokens with a massive value in any of the dimensions; none where there are none."""
        if not len(dimensions):
            return torch.zeros(states.shape[:-1], dtype=torch.bool, device=states.device)
        high = ratios(states)[..., dimensions].amax(-1)
        return high >= self.threshold(states.shape[-1])


def ratios(states: Float[Tensor, "*tokens dim"]) -> Float[Tensor, "*tokens dim"]:
    """|x[d]| / RMS(x) of every dimension, in float32; 0 for a state that is all zero."""
    magnitude = states.abs().float()
    rms = magnitude.square().mean(-1, keepdim=True).sqrt()
    return magnitude / rms.clamp(min=torch.finfo(torch.float32).tiny)


def first_positions(
    mask: Int[Tensor, "batch length"], visual: Bool[Tensor, "batch length"]
) -> tuple[Int[Tensor, " batch"], Bool[Tensor, " batch"]]:
    """Place of each item's first true token, and whether the token is text.

    A visual token that comes first is no sink of the language model's own: it tells nothing.

    Args:
        mask: 1 for true tokens.
        visual: which places hold visual tokens.
    """
    first = mask.argmax(1)
    return first, ~visual.gather(1, first[:, None])[:, 0]
