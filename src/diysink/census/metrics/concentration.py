"""How unevenly attention is received: sinks that norms do not show."""

from jaxtyping import Float
from torch import Tensor

from diysink.census.layer import SeenLayer
from diysink.census.metrics.base import MeanOverImages, Quantity


class Concentration(MeanOverImages):
    """Column sums of attention, c_j = sum_i A_ij, with A averaged over heads."""

    columns = (
        Quantity(
            "concentration",
            "concentration",
            "Attention that the most attended token receives, over that of the median token; "
            "heads are averaged. 1: attention is even. 100 or more: one token takes much of "
            "it.",
            "Anatomy of attention sinks (2026)",
        ),
        Quantity(
            "patch_concentration",
            "concentration, patches",
            "The same among the patches alone. High: a sink is among the patches.",
            "Anatomy of attention sinks (2026)",
        ),
        Quantity(
            "top_share",
            "attention on top",
            "The share of all attention that the most attended token receives.",
            "Anatomy of attention sinks (2026)",
            "share",
        ),
    )

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
