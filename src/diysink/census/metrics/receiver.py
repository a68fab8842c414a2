"""Which kind of token is the sink of each head."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from diysink.census.layer import SeenLayer
from diysink.census.metrics.base import MeanOverImages


class Receiver(MeanOverImages):
    """The token that receives most attention of a head: class token, register or patch."""

    columns: ClassVar = {
        "received_class": "share of heads whose most attended token is the class token",
        "received_register": "share of heads whose most attended token is a register",
        "received_patch": "share of heads whose most attended token is a patch",
    }
    source = "arXiv 2606.08105"

    def per_image(self, seen: SeenLayer) -> dict[str, Float[Tensor, " batch"]]:
        """Shares of heads. The first token before the patches is the class token."""
        if seen.heads is None:
            return {}
        sink = seen.heads.sink
        patch = sink >= seen.prefix
        first = (sink == 0) & ~patch
        kinds = {"class": first, "register": ~first & ~patch, "patch": patch}
        return {f"received_{kind}": found.float().mean(1) for kind, found in kinds.items()}
