"""Massive activations: a few channels that are far larger than all others."""

from jaxtyping import Float
from torch import Tensor

from diysink.census.layer import SeenLayer
from diysink.census.metrics.base import MeanOverImages, Quantity
from diysink.sinks import MASSIVE_RATIO, MASSIVE_VALUE

LOOKED_AT = 2**14  # numbers of an image that its median is taken of


class Spike(MeanOverImages):
    """The largest |x| of all tokens and channels over the median |x|.

    The median is taken of evenly spaced numbers, at most `LOOKED_AT` an image.
    """

    columns = (
        Quantity(
            "spike",
            "spike",
            "The largest magnitude of all tokens and channels, over the median magnitude. "
            "High: a few channels are massive.",
            "2609.32808",
        ),
        Quantity(
            "massive",
            "massive",
            "The share of images with a magnitude of at least 100, and at least 1000 times "
            "the median.",
            "2402.17762",
            "share",
        ),
    )

    def per_image(self, seen: SeenLayer) -> dict[str, Float[Tensor, " batch"]]:
        """Ratio, and whether it is massive."""
        flat = seen.hidden.flatten(1)
        step = -(-flat.shape[1] // LOOKED_AT)
        while step > 1 and seen.hidden.shape[-1] % step == 0:  # not the same channels of each token
            step += 1
        largest = flat.abs().amax(1).float()
        median = flat[:, ::step].abs().float().median(1).values
        ratio = largest / median
        massive = (largest >= MASSIVE_VALUE) & (ratio >= MASSIVE_RATIO)
        return {"spike": ratio, "massive": massive.float()}
