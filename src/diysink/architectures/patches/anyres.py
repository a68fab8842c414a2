"""LLaVA-NeXT and LLaVA-OneVision: an overview, then tiles put together, cut and given row ends.

Which patch a token came from is not worked out here: the model's own packing is run on coordinates
in place of features. Where it shrinks the tiles (OneVision, large images), a coordinate between two
patches names both, since bilinear interpolation of coordinates is exact.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.models.llava_next.modeling_llava_next import (
    get_anyres_image_grid_shape,
    image_size_to_num_patches,
)

from diysink.architectures.patches.image import Arguments, EncodedImage, without_class_token

States = Float[Tensor, "rows tokens dim"]
CLOSE = 1e-6  # of a patch; coordinates are doubles


def llava_next(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """All images in tiles."""
    counts = [_tiles(inner, size) for size in arguments["image_sizes"]]
    strategy = {"vision_feature_select_strategy": "full"}  # it only words a warning
    return _images(inner, states, arguments, counts, strategy)


def llava_onevision(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """Images in tiles, unless their prompt has several."""
    sizes, together = arguments["image_sizes"], arguments.get("batch_num_images")
    alone = (
        [True] * len(sizes)
        if together is None
        else [int(n) == 1 for n in together for _ in range(int(n))]
    )
    counts = [_tiles(inner, size) if tiled else 1 for size, tiled in zip(sizes, alone, strict=True)]
    ratio = arguments.get("vision_aspect_ratio") or inner.config.vision_aspect_ratio
    return _images(inner, states, arguments, counts, {"vision_aspect_ratio": ratio})


def _tiles(inner: Any, size: Any) -> int:
    """Tiles of an image, its overview counted."""
    side = inner.config.vision_config.image_size
    return int(image_size_to_num_patches(size, inner.config.image_grid_pinpoints, side))


def _images(
    inner: Any, states: States, arguments: Arguments, counts: list[int], options: dict[str, str]
) -> list[EncodedImage]:
    states = without_class_token(inner, states, arguments)
    pixels = arguments["pixel_values"]
    if pixels.dim() == 5:
        images = [one[:count] for one, count in zip(pixels, counts, strict=True)]
    else:
        images = list(torch.split(pixels, counts))
    return [
        EncodedImage(part.flatten(0, 1), _groups(inner, part, size, options), image)
        for part, size, image in zip(
            torch.split(states, counts), arguments["image_sizes"], images, strict=True
        )
    ]


def _groups(
    inner: Any,
    states: Float[Tensor, "tiles patches dim"],
    size: Any,
    options: dict[str, str],
) -> Int[Tensor, "tokens group"]:
    """Rows of the tiles' patches, one tile after the other, that each token of an image reads."""
    tiles, patches, _ = states.shape
    vision = inner.config.vision_config
    side = vision.image_size // vision.patch_size
    columns = 1
    if tiles > 1:
        columns = get_anyres_image_grid_shape(
            size, inner.config.image_grid_pinpoints, vision.image_size
        )[1]
    # Row and column in the image that the tiles make together; the overview needs no place in it.
    tile = torch.arange(tiles)[:, None] - 1
    number = torch.arange(patches)[None]
    row = tile // columns * side + number // side
    column = tile % columns * side + number % side
    where = torch.stack([row, column], -1).double()
    where[0] = 0
    newline = torch.full((2,), -1.0, dtype=torch.double)
    packed, _ = inner.pack_image_features([where], [size], image_newline=newline, **options)
    y, x = packed[0].unbind(-1)
    groups = torch.stack(
        [
            (a // side * columns + b // side + 1) * patches + a % side * side + b % side
            for a in ((y + CLOSE).floor(), (y - CLOSE).ceil())
            for b in ((x + CLOSE).floor(), (x - CLOSE).ceil())
        ],
        dim=1,
    ).long()
    groups[:patches] = torch.arange(patches)[:, None]
    groups[y < 0] = -1
    return groups.to(states.device)
