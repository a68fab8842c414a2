"""Random-matched tokens: of each image as many nonsinks as it has sinks, drawn at random.

What is true of a few sinks may be true of any few tokens: a mean of three differs from a mean of
three hundred whatever the three are. So every claim about sinks is compared with these. The draw
depends on the image and the seed, never on the batch: the same image gets the same tokens wherever
the seed is the same.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from diysink.artifact import digest_json


def random_matched_tokens(
    sinks: Bool[Tensor, "images tokens"], keys: Sequence[str], seed: int
) -> Bool[Tensor, "images tokens"]:
    """As many random nonsinks per image as it has sinks; all of them where there are no more.

    Args:
        sinks: the true sinks.
        keys: digest of each image.
        seed: of the draw.
    """
    drawn = torch.zeros_like(sinks)
    for mask, chosen, key in zip(sinks, drawn, keys, strict=True):
        others = (~mask).nonzero().flatten()
        generator = torch.Generator().manual_seed(int(digest_json([seed, "matched", key])[:15], 16))
        order = torch.randperm(len(others), generator=generator).to(others.device)
        chosen[others[order[: int(mask.sum())]]] = True
    return drawn
