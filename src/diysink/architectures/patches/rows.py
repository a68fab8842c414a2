"""Families whose encoder gives one row of patches for each image or tile."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import unfold

from diysink.architectures.patches.image import Arguments, EncodedImage, without_class_token

States = Float[Tensor, "rows tokens dim"]


def _alone(states: Float[Tensor, "patches dim"]) -> Int[Tensor, "patches 1"]:
    return torch.arange(len(states), device=states.device)[:, None]


def _numbers(states: Float[Tensor, "rows patches dim"]) -> Float[Tensor, "1 patches 1"]:
    """An image whose only channel is the patch's number: what a rearrangement does to it tells."""
    return torch.arange(states.shape[1], device=states.device, dtype=torch.float32)[None, :, None]


def _images(
    states: Float[Tensor, "rows patches dim"], groups: Int[Tensor, "tokens group"], pixels: Tensor
) -> list[EncodedImage]:
    return [EncodedImage(row, groups, pixel) for row, pixel in zip(states, pixels, strict=True)]


def llava(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """One token for each patch; with a Pixtral encoder, all images in one row."""
    sizes = arguments.get("image_sizes")
    if sizes is not None:
        side = inner.vision_tower.patch_size
        grids = [(int(height) // side, int(width) // side) for height, width in sizes]
        parts = torch.split(states[0], [rows * columns for rows, columns in grids])
        pixels = arguments["pixel_values"]
        return [
            EncodedImage(part, _alone(part), pixel[:, : int(height), : int(width)])
            for part, pixel, (height, width) in zip(parts, pixels, sizes, strict=True)
        ]
    return plain(inner, without_class_token(inner, states, arguments), arguments)


def vipllava(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """One token for each patch, always without the class token."""
    return plain(inner, states[:, 1:], arguments)


def plain(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """One token for each patch."""
    return _images(states, _alone(states[0]), arguments["pixel_values"])


def gemma3(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """One token for each square of patches, which are averaged."""
    projector = inner.multi_modal_projector
    side = projector.patches_per_image
    grid = _numbers(states).reshape(1, 1, side, side)
    groups = unfold(grid, projector.kernel_size, stride=projector.kernel_size)[0].T.long()
    return _images(states, groups, arguments["pixel_values"])


def internvl(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """Pixel shuffle: the channels of several patches side by side in one token."""
    states = without_class_token(inner, states, arguments)
    side = int(states.shape[1] ** 0.5)
    shuffled = inner.pixel_shuffle(
        _numbers(states).reshape(1, side, side, 1), scale_factor=inner.config.downsample_ratio
    )
    groups = shuffled.reshape(-1, shuffled.shape[-1]).long()
    return _images(states, groups, arguments["pixel_values"])


def aya_vision(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """Pixel shuffle in the projector."""
    return cohere2_vision(inner, without_class_token(inner, states, arguments), arguments)


def cohere2_vision(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """Pixel shuffle in the projector."""
    shuffled = inner.multi_modal_projector.pixel_shuffle(_numbers(states))
    groups = shuffled.reshape(-1, shuffled.shape[-1]).long()
    return _images(states, groups, arguments["pixel_values"])


def idefics3(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """Pixel shuffle in the connector; tiles of zeros are padding, and so are masked patches."""
    pixels = arguments["pixel_values"].flatten(0, 1)
    real = (pixels != 0).flatten(1).any(1)
    if not real.any():
        raise ValueError(
            "All pixel values are zero, which this family reads as padding: there is no image."
        )
    shuffled = inner.connector.pixel_shuffle(_numbers(states), inner.connector.scale_factor)
    groups = shuffled[0].long()
    images = _images(states, groups, pixels[real])
    mask = arguments.get("pixel_attention_mask")
    if mask is None:
        return images
    side = inner.config.vision_config.patch_size
    shown = mask.flatten(0, 1)[real].unfold(1, side, side).unfold(2, side, side).sum((-1, -2)) > 0
    return [
        EncodedImage(one.states, groups.masked_fill(~seen.flatten()[groups], -1), one.pixels)
        for one, seen in zip(images, shown, strict=True)
    ]


def ovis2(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """The channels of a square of patches side by side in one token."""
    stride, side = inner.config.vision_config.hidden_stride, int(states.shape[1] ** 0.5)
    grid = _numbers(states).reshape(1, 1, side, side)
    groups = unfold(grid, stride, stride=stride)[0].T.long()
    return _images(states, groups, arguments["pixel_values"])


def molmo2(inner: Any, states: States, arguments: Arguments) -> list[EncodedImage]:
    """Attention pools the patches that ``image_token_pooling`` names, of overview and crops."""
    patches = states.shape[1]
    pixels = arguments["pixel_values"].reshape(len(states), patches, -1)
    pooled = arguments["image_token_pooling"]
    pooled = pooled[(pooled >= 0).any(-1)]
    grids = arguments["image_grids"]
    sizes = grids[:, 0] * grids[:, 1] + grids[:, 2] * grids[:, 3]
    images = []
    for groups in torch.split(pooled, sizes.tolist()):
        # Of the image's own crops; they stand one after the other.
        first, last = int(groups[groups >= 0].min()) // patches, int(groups.max()) // patches
        own = torch.where(groups >= 0, groups - first * patches, -1)
        crops = slice(first, last + 1)
        images.append(EncodedImage(states[crops].flatten(0, 1), own, pixels[crops]))
    return images
