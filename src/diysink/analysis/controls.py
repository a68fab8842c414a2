"""Orders drawn at random for shuffled controls: by image and seed, so that batches do not matter.

As many random tokens as there are sinks come from `diysink.sinks.random_matched`; here a whole
mask, of however many kinds, is shuffled over the tokens of its image.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from diysink.artifact import digest_json


def drawn_orders(images: Sequence[str], tokens: int, seed: int) -> Int[Tensor, "images tokens"]:
    """All tokens of each image in random order; the same image has the same order anywhere.

    Args:
        images: digests of the images.
        tokens: how many each has.
        seed: of the draw.
    """
    orders = torch.empty(len(images), tokens, dtype=torch.long)
    for row, image in enumerate(images):
        number = int(digest_json([seed, "shuffled", image])[:15], 16)
        generator = torch.Generator().manual_seed(number)
        orders[row] = torch.randperm(tokens, generator=generator)
    return orders
