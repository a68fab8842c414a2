"""How unevenly attention is received: sinks that norms do not show."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from diysink.census.layer import SeenLayer
from diysink.census.metrics.base import MeanOverImages


class Concentration(MeanOverImages):
    """Column sums of attention, c_j = sum_i A_ij, with A averaged over heads."""

    columns: ClassVar = {
        "concentration": "largest c_j over the median c_j, of all tokens, averaged over images",
        "patch_concentration": "the same among the patches alone",
        "top_share": "share of all attention that the most attended token receives",
    }
    source = "Anatomy of attention sinks (2026): r = max c / median c"

    def per_image(self, seen: SeenLayer) -> dict[str, Float[Tensor, " batch"]]:
        """Ratios of the largest column to the median one."""
        if seen.received is None:
            return {}
        columns = seen.received
        patches = columns[:, seen.prefix :]
        return {
            "concentration": columns.amax(1) / columns.median(1).values,
            "patch_concentration": patches.amax(1) / patches.median(1).values,
            "top_share": columns.amax(1),
        }
