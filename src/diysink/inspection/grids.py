"""Where the patches of an encoded image are, whatever order the encoder keeps them in."""

from math import isqrt
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from diysink.architectures import Arguments, EncodedImage

Raster = tuple[tuple[int, int], Int[Tensor, " patches"]]


def raster_of(tile: EncodedImage, arguments: Arguments, patch: int) -> Raster | None:
    """Rows and columns of an image's patches, and for each place in raster order the state's row.

    Args:
        tile: the first image or tile of a call.
        arguments: of the call that encoded it.
        patch: side of a patch in pixels; 0: not known.

    Returns:
        None where it cannot be told.
    """
    count, rows = len(tile.states), torch.arange(len(tile.states))
    if (grids := arguments.get("image_grid_thw")) is not None:
        _, height, width = grids[0].tolist()
        return _of_groups(tile, height, width)
    if (places := arguments.get("image_position_ids")) is not None:
        x, y = places[0][(places[0] >= 0).all(-1)].unbind(-1)
        width, height = int(x.max()) + 1, int(y.max()) + 1
        return _checked((height, width), (y * width + x).argsort(), count)
    if (shapes := arguments.get("spatial_shapes")) is not None:
        height, width = shapes[0].tolist()
    elif tile.pixels.dim() == 3 and patch:
        height, width = (side // patch for side in tile.pixels.shape[1:])
    else:  # patches of tiles of one size, which are square
        height = width = isqrt(count)
    return _checked((height, width), rows, count)


def patch_side(config: Any) -> int:
    """Side of a patch in pixels, of an encoder's configuration; 0: it does not say."""
    side = getattr(config, "patch_size", 0)
    return int(side if isinstance(side, int) else side[0])


def _of_groups(tile: EncodedImage, height: int, width: int) -> Raster | None:
    """Tokens are squares of patches in raster order, and so are the patches in each square."""
    side = isqrt(tile.groups.shape[1])
    if side * side != tile.groups.shape[1] or height % side or width % side:
        return None
    if tile.groups.numel() != height * width:
        return None
    squares = tile.groups.reshape(height // side, width // side, side, side)
    return _checked((height, width), squares.transpose(1, 2).reshape(-1), len(tile.states))


def _checked(grid: tuple[int, int], order: Int[Tensor, " patches"], count: int) -> Raster | None:
    """Every patch once, or nothing."""
    whole = grid[0] * grid[1] == count == len(order)
    if not whole or not torch.equal(order.sort().values.cpu(), torch.arange(count)):
        return None
    return grid, order
