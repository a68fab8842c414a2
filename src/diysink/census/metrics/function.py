"""What heads do at their sinks: nothing, or the same for every token."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from diysink.census.layer import SeenLayer
from diysink.census.metrics.base import MeanOverImages

NOP_RATIO, BROADCAST_RATIO, BROADCAST_RANK = 0.2, 0.5, 1.5


class Function(MeanOverImages):
    """Sink events (`diysink.census.heads`), and what they are.

    NOP: the sink's u_s is at most a fifth of the others. Broadcast: it is at least half of them,
    and the outputs have a stable rank of at most 1.5.
    """

    columns: ClassVar = {
        "event": "share of heads with a sink event (90 % of the queries give one token .5 or more)",
        "nop": "share of heads with an event whose sink adds little: they do nothing",
        "broadcast": "share of heads with an event that add the same vector to every token",
        "value_ratio": "norm of what the sink adds over the others' mean, at events",
        "stable_rank": "stable rank of the head's outputs, at events",
    }
    source = "arXiv 2606.08105"

    def per_image(self, seen: SeenLayer) -> dict[str, Float[Tensor, " batch"]]:
        """Shares of heads, and means over the events of an image (NaN without one)."""
        heads = seen.heads
        if heads is None:
            return {}
        nop = heads.event & (heads.ratio <= NOP_RATIO)
        broadcast = heads.event & (heads.ratio >= BROADCAST_RATIO) & (heads.rank <= BROADCAST_RANK)
        found = {"event": heads.event.float().mean(1)}
        if heads.ratio.isnan().all():
            return found
        known = heads.ratio.where(heads.event, float("nan"))
        return found | {
            "nop": nop.float().mean(1),
            "broadcast": broadcast.float().mean(1),
            "value_ratio": known.nanmean(1),
            "stable_rank": heads.rank.nanmean(1),
        }
