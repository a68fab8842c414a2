"""Answers under interference: a share of an image's nonsinks say what another image shows.

A model that was trained on both sets together looks at the set that a question needs, so there is
nothing that a route could win. With nonsinks of another image, both sets contradict each other
about the whole image. Whoever listens to both is misled; the sinks alone are right. How far a model
is misled says how far it listens, and what the right route is worth: a positive control of routing.
"""

from collections.abc import Sequence

import torch

from diysink.artifact import digest_json
from diysink.model import Visual


def with_interference(
    visual: Visual, images: Sequence[str], keys: Sequence[str], share: float, seed: int
) -> Visual:
    """A share of each image's nonsinks replaced by the donor's nonsinks in the same places.

    Args:
        visual: projected tokens in natural order, one for each patch.
        images: what tells the items' images apart.
        keys: digest of each item's image; which places are replaced depends on it.
        share: of the image's nonsinks, from 0 to 1. A place where the donor has a sink stays.
        seed: of the draw.

    Raises:
        ValueError: all items are about one image, so there is no donor.
    """
    if not share:
        return visual
    donors = donor_of(images)
    if donors is None:
        raise ValueError("interference needs questions about at least two images in a batch")
    features = visual.features.clone()
    for i, (mask, key) in enumerate(zip(visual.sinks, keys, strict=True)):
        nonsinks = (~mask).nonzero().flatten()
        generator = torch.Generator().manual_seed(
            int(digest_json([seed, "interference", key])[:15], 16)
        )
        order = torch.randperm(len(nonsinks), generator=generator).to(nonsinks.device)
        chosen = nonsinks[order[: round(share * len(nonsinks))]]
        chosen = chosen[~visual.sinks[donors[i], chosen]]
        features[i, chosen] = visual.features[donors[i], chosen]
    return Visual(features, visual.sinks)


def donor_of(images: Sequence[str]) -> list[int] | None:
    """For each item the next item, around the batch, whose image is another; None without one.

    >>> donor_of(["x", "x", "y"]), donor_of(["x", "x"])
    ([2, 2, 0], None)
    """
    if len(set(images)) < 2:
        return None
    number = len(images)
    return [
        next((i + j) % number for j in range(1, number) if images[(i + j) % number] != image)
        for i, image in enumerate(images)
    ]
