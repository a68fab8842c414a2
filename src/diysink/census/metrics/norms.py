"""How large the states of the patches are. Medians over tokens come from the histogram of norms."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from diysink.census.layer import SeenLayer
from diysink.census.metrics.base import MeanOverImages


class Norms(MeanOverImages):
    """The L2 norms inside each image."""

    columns: ClassVar = {
        "norm_median": "median norm of an image's patches, averaged over images",
        "norm_p99": "99th percentile of the norms of an image's patches, averaged over images",
        "norm_max": "largest norm of an image's patches, averaged over images",
    }
    source = "arXiv 2309.16588 (norms of outlier tokens)"

    def per_image(self, seen: SeenLayer) -> dict[str, Float[Tensor, " batch"]]:
        """Three quantiles of the norms."""
        ordered = seen.norms.sort(dim=1).values
        count = ordered.shape[1]
        return {
            "norm_median": ordered[:, (count - 1) // 2],
            "norm_p99": ordered[:, round(0.99 * (count - 1))],
            "norm_max": ordered[:, -1],
        }
