"""Families whose encoder reads images of any size: as one sequence of patches, or padded."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import unfold
from transformers.vision_utils import get_vision_window_index

from diysink.architectures.patches.image import Arguments, EncodedImage

States = Float[Tensor, "rows patches dim"]


def mistral3(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """Squares of patches, side by side in one token."""
    patch, merge = inner.config.vision_config.patch_size, inner.config.spatial_merge_size
    sizes = [(int(height), int(width)) for height, width in arguments["image_sizes"]]
    grids = [(height // patch, width // patch) for height, width in sizes]
    parts = torch.split(states[0], [rows * columns for rows, columns in grids])
    return [
        EncodedImage(part, _squares(part, grid, (merge, merge)), pixels[:, : size[0], : size[1]])
        for part, grid, size, pixels in zip(
            parts, grids, sizes, arguments["pixel_values"], strict=True
        )
    ]


def merged(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """Patches that become one token stand next to each other (Qwen-VL, GLM-V, ERNIE-VL)."""
    groups = _neighbours(inner, states[0])
    return _by_grid(inner, states[0], groups, arguments)


def windowed(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """Qwen2.5-VL: as `merged`, but the encoder works window by window and orders tokens after."""
    tower = inner.visual
    window, _ = get_vision_window_index(
        arguments["image_grid_thw"], tower.spatial_merge_size, tower.window_size, tower.patch_size
    )
    groups = _neighbours(inner, states[0])[torch.argsort(window.to(states.device))]
    return _by_grid(inner, states[0], groups, arguments)


def kimi(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """Kimi-K2.5: a square of patches, which stand in raster order."""
    grids = arguments["image_grid_thw"]
    counts = grids.prod(-1).tolist()
    return [
        EncodedImage(part, _squares(part, grid[1:], inner.vision_tower.merge_kernel_size), pixels)
        for part, grid, pixels in zip(
            torch.split(states[0], counts),
            grids.tolist(),
            torch.split(arguments["pixel_values"], counts),
            strict=True,
        )
    ]


def lfm2_vl(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """LFM2-VL: the channels of a square of patches; each image is padded to the longest."""
    images = []
    for row, (height, width), pixels in zip(
        states, arguments["spatial_shapes"].tolist(), arguments["pixel_values"], strict=True
    ):
        count = height * width
        numbers = torch.arange(count, device=row.device, dtype=torch.float32)
        squares = inner.multi_modal_projector.pixel_unshuffle(numbers.reshape(1, height, width, 1))
        groups = squares.reshape(-1, squares.shape[-1]).long()
        images.append(EncodedImage(row[:count], groups, pixels[:count]))
    return images


def gemma4(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """Gemma 4: the mean of a square of patches; each image is padded to the longest."""
    side = inner.config.vision_config.pooling_kernel_size
    images = []
    for row, places, pixels in zip(
        states, arguments["image_position_ids"], arguments["pixel_values"], strict=True
    ):
        real = (places >= 0).all(-1)
        x, y = (places[real] // side).unbind(-1)
        token = x + (x.max() + 1) * y
        groups = token.argsort(stable=True).reshape(-1, side * side)
        images.append(EncodedImage(row[real], groups, pixels[real]))
    return images


def _squares(
    states: Float[Tensor, "patches dim"], grid: Sequence[int], sides: Sequence[int]
) -> Int[Tensor, "tokens group"]:
    """Rows of the patches in each square (or rectangle) of a grid in raster order."""
    numbers = torch.arange(len(states), device=states.device, dtype=torch.float32)
    squares = unfold(numbers.reshape(1, 1, *grid), tuple(sides), stride=tuple(sides))
    return squares[0].T.long()


def _neighbours(inner: Any, states: Float[Tensor, "patches dim"]) -> Int[Tensor, "tokens group"]:
    size = inner.config.vision_config.spatial_merge_size**2
    return torch.arange(len(states), device=states.device).reshape(-1, size)


def _by_grid(
    inner: Any,
    states: Float[Tensor, "patches dim"],
    groups: Int[Tensor, "tokens group"],
    arguments: Arguments,
) -> list[EncodedImage]:
    """Each image's part of the sequence, by ``image_grid_thw``."""
    counts = arguments["image_grid_thw"].prod(-1).tolist()
    size = groups.shape[1]
    images, start = [], 0
    for part, mine, pixels in zip(
        torch.split(states, counts),
        torch.split(groups, [count // size for count in counts]),
        torch.split(arguments["pixel_values"], counts),
        strict=True,
    ):
        images.append(EncodedImage(part, mine - start, pixels))
        start += len(part)
    return images
