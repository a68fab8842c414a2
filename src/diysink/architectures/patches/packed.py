"""Families whose encoder reads all images, of any size, as one sequence of patches."""

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
    patch, merge = inner.vision_tower.patch_size, inner.config.spatial_merge_size
    sizes = [(int(height), int(width)) for height, width in arguments["image_sizes"]]
    grids = [(height // patch, width // patch) for height, width in sizes]
    parts = torch.split(states[0], [rows * columns for rows, columns in grids])
    images = []
    for part, (rows, columns), size, pixels in zip(
        parts, grids, sizes, arguments["pixel_values"], strict=True
    ):
        numbers = torch.arange(len(part), device=part.device, dtype=torch.float32)
        groups = unfold(numbers.reshape(1, 1, rows, columns), merge, stride=merge)[0].T.long()
        images.append(EncodedImage(part, groups, pixels[:, : size[0], : size[1]]))
    return images


def merged(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """Patches that become one token stand next to each other (Qwen2-VL, Qwen3-VL, GLM-4V)."""
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


def _neighbours(inner: Any, states: Float[Tensor, "patches dim"]) -> Int[Tensor, "tokens group"]:
    size = inner.visual.spatial_merge_size**2
    return torch.arange(len(states), device=states.device).reshape(-1, size)


def _by_grid(
    inner: Any,
    states: Float[Tensor, "patches dim"],
    groups: Int[Tensor, "tokens group"],
    arguments: Arguments,
) -> list[EncodedImage]:
    """Each image's part of the sequence, by ``image_grid_thw``."""
    counts = arguments["image_grid_thw"].prod(-1).tolist()
    size = inner.visual.spatial_merge_size**2
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
