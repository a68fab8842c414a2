"""What heads do at their sinks: nothing, or the same for every token."""

from jaxtyping import Float
from torch import Tensor

from diysink.census.layer import SeenLayer
from diysink.census.metrics.base import MeanOverImages, Quantity

NOP_RATIO, BROADCAST_RATIO, BROADCAST_RANK = 0.2, 0.5, 1.5


class Function(MeanOverImages):
    """Sink events (`diysink.census.heads`), and what they are.

    NOP: the sink's u_s is at most a fifth of the others. Broadcast: it is at least half of them,
    and the outputs have a stable rank of at most 1.5.
    """

    columns = (
        Quantity(
            "event",
            "sink events",
            "In this share of heads and images at least 90 % of the tokens give half of their "
            "attention or more to one token.",
            "2606.08105",
            "share",
        ),
        Quantity(
            "nop",
            "NOP",
            "A sink event in which the head adds nearly nothing: what the sink adds is at "
            "most a fifth of the others. The head is switched off.",
            "2606.08105",
            "share",
        ),
        Quantity(
            "broadcast",
            "broadcast",
            "A sink event in which the head adds the same vector to all tokens: the sink adds "
            "at least half as much as others, and the stable rank is at most 1.5.",
            "2606.08105",
            "share",
        ),
        Quantity(
            "value_ratio",
            "value ratio",
            "At events: size of what the sink adds, over that of other tokens. Near 0: NOP. "
            "Near 1 or more: the sink adds something.",
            "2606.08105",
        ),
        Quantity(
            "stable_rank",
            "stable rank",
            "At events: in how many directions the outputs of a head differ. Near 1: all "
            "tokens get multiples of one vector (broadcast).",
            "2606.08105",
        ),
    )

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
