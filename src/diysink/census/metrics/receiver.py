"""Which kind of token is the sink of each head."""

from jaxtyping import Float
from torch import Tensor

from diysink.census.layer import SeenLayer
from diysink.census.metrics.base import MeanOverImages, Quantity


class Receiver(MeanOverImages):
    """The token that receives most attention of a head: class token, register or patch."""

    columns = (
        Quantity(
            "received_class",
            "class token on top",
            "In this share of heads and images the class token receives the most attention.",
            "2606.08105",
            "share",
        ),
        Quantity(
            "received_register",
            "register on top",
            "In this share of heads and images a register token receives the most attention.",
            "2606.08105",
            "share",
        ),
        Quantity(
            "received_patch",
            "patch on top",
            "In this share of heads and images a patch receives the most attention. High: "
            "sinks are among the patches.",
            "2606.08105",
            "share",
        ),
    )

    def per_image(self, seen: SeenLayer) -> dict[str, Float[Tensor, " batch"]]:
        """Shares of heads, of the kinds that there are. The class token is the first of all."""
        if seen.heads is None:
            return {}
        sink = seen.heads.sink
        patch = sink >= seen.prefix
        first = (sink == 0) & ~patch
        kinds = {"patch": patch}
        if seen.prefix > 0:
            kinds["class"] = first
        if seen.prefix > 1:
            kinds["register"] = ~first & ~patch
        return {f"received_{kind}": found.float().mean(1) for kind, found in kinds.items()}
