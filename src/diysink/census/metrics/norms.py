"""How large the states of the patches are. Medians over tokens come from the histogram of norms."""

import torch
from jaxtyping import Float
from torch import Tensor

from diysink.census.layer import SeenLayer
from diysink.census.metrics.base import MeanOverImages, Quantity, Tables
from diysink.sinks import CalibrationSettings
from diysink.sinks.layout import BINS

LARGEST = "largest"  # the table of images by their largest norm


class Norms(MeanOverImages):
    """The L2 norms inside each image."""

    columns = (
        Quantity(
            "norm_median",
            "norm, median",
            "The length (L2 norm) of the state of a patch: half of the patches of an image "
            "are below.",
            "2510.08510",
        ),
        Quantity(
            "norm_p99",
            "norm, 99 %",
            "1 patch of 100 has a larger norm. Far above the median: there are a few patches "
            "of another kind.",
            "2309.16588",
        ),
        Quantity(
            "norm_max",
            "norm, largest",
            "The largest norm in an image. Much larger than the median: a sink is likely.",
            "2309.16588",
        ),
    )

    def per_image(self, seen: SeenLayer) -> dict[str, Float[Tensor, " batch"]]:
        """Three quantiles of the norms."""
        ordered = seen.norms.sort(dim=1).values
        count = ordered.shape[1]
        return {
            "norm_median": ordered[:, (count - 1) // 2],
            "norm_p99": ordered[:, round(0.99 * (count - 1))],
            "norm_max": ordered[:, -1],
        }

    def tables(self, seen: SeenLayer, weights: Float[Tensor, "batch rows"]) -> Tables:
        """Sums of the quantiles, and images by their largest norm, on the grid of norms."""
        bins = CalibrationSettings().layout().bins(seen.norms.amax(1)).to(weights.device)
        images = torch.nn.functional.one_hot(bins, BINS).to(weights.dtype)
        return {**super().tables(seen, weights), LARGEST: weights.T @ images}
