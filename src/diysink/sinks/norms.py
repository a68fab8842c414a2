"""Statistics of norms alone, of images of any size: what a model's own vision encoder lets be seen.

Inside a vision-language model, visual tokens may be made of several patches, their number may
differ from image to image, and nothing gives the attention or the pixels of each. Their norms are
there in every family. They are counted as `diysink.sinks.measure` counts them, so that the same
norms give the same histogram, gap and tau; where sinks sit, what they show and whether they are
attended to stays unknown, and the profile says so.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from diysink.sinks.layout import BINS, Layout
from diysink.sinks.statistics import (
    NonFiniteError,
    Statistics,
    bootstrap_weights,
    largest_drop,
    norm_tables,
)


def measure_norms(
    layout: Layout, norms: Sequence[Float[Tensor, " _"]], images: Sequence[str]
) -> Statistics:
    """Statistics of the norms of some images.

    Args:
        layout: of norms alone (`Layout()`, with anchor and bootstrap as wanted).
        norms: L2 norms of each image's visual tokens, float32; NaN where a token shows no patch.
        images: SHA-256 of each image's file, or another name that stands for its content.

    Raises:
        NonFiniteError: an infinite norm, or an image of nothing but NaN: an encoder that gives
            these is broken, or its dtype is too narrow.
        ValueError: a layout with a grid, or not one name for each image.
    """
    if not layout.norms_alone or not norms or len(norms) != len(images):
        raise ValueError(
            f"{len(norms)} tensors of norms and {len(images)} names on a grid of {layout.rows} x "
            f"{layout.columns} patches: give one name for each image, at least one image, and a "
            "Layout without rows, columns and dim."
        )
    kept = []
    for one, image in zip(norms, images, strict=True):
        shown = one[~one.isnan()].detach().float().cpu()
        if not len(shown) or not shown.isfinite().all():
            raise NonFiniteError(
                f"The vision encoder gave infinite or undefined states on image {image[:16]}. "
                "Load the model in a wider dtype (float32 or bfloat16 in place of float16), or "
                "look at that image."
            )
        kept.append(layout.counted(shown))
    by_image = torch.stack([torch.bincount(layout.bins(one), minlength=BINS) for one in kept])
    weights = bootstrap_weights(images, layout.replicates, layout.seed)
    drops = torch.cat([largest_drop(layout, one[None]) for one in kept])
    return Statistics(layout, norm_tables(layout, torch.cat(kept), by_image, drops, weights))
