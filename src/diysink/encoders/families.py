"""Where each supported architecture keeps the parts that an encoder runs.

One entry a family; nothing else in the project asks what kind of vision transformer it has. Traps
that the table answers: SigLIP has no class token (dropping "the first token" loses a real patch),
DINOv2 with registers has 1 + 4 tokens that are not patches, CLIP normalises before its first block,
and SigLIP 2's own class takes patches in place of images.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from diysink.architectures import UnsupportedModelError

Pixels = Float[Tensor, "batch channels height width"]
States = Float[Tensor, "batch tokens dim"]


@dataclass(frozen=True)
class Family:
    """How to run one architecture block by block.

    Attributes:
        architecture: class of transformers that holds the vision part alone.
        blocks: dotted path of its list of transformer blocks.
        before: dotted paths of the modules that make the first hidden states.
        embed: pixels to the first hidden states, as the architecture itself does it.
        norm, attention: names, in a block, of the norm before attention and of the attention.
        prefix: from the configuration, how many tokens stand before the patches.
        any_size: whether it interpolates its position embeddings to the picture.
    """

    architecture: str
    blocks: str
    before: tuple[str, ...]
    embed: Callable[[Any, Pixels], States]
    norm: str
    attention: str
    prefix: Callable[[Any], int]
    any_size: bool = False


# A tower's parts are reached by name: only its own class would make them known to a type checker.
def _clip(model: Any, pixels: Pixels) -> States:
    return model.pre_layrnorm(model.embeddings(pixels))


def _plain(model: Any, pixels: Pixels) -> States:
    return model.embeddings(pixels)


def _siglip2(model: Any, pixels: Pixels) -> States:
    """Cut into patches as SigLIP 2's image processor does, at a fixed size and without padding."""
    batch, channels, height, width = pixels.shape
    side: int = model.embeddings.patch_size
    rows, columns = height // side, width // side
    cut = pixels.reshape(batch, channels, rows, side, columns, side)
    patches = cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1)
    shapes = torch.tensor([[rows, columns]]).expand(batch, 2)
    return model.embeddings(patches, shapes)


FAMILIES = {
    "clip": Family(
        architecture="CLIPVisionModel",
        blocks="encoder.layers",
        before=("embeddings", "pre_layrnorm"),
        embed=_clip,
        norm="layer_norm1",
        attention="self_attn",
        prefix=lambda config: 1,
    ),
    "siglip": Family(
        architecture="SiglipVisionModel",
        blocks="encoder.layers",
        before=("embeddings",),
        embed=_plain,
        norm="layer_norm1",
        attention="self_attn",
        prefix=lambda config: 0,
    ),
    "siglip2": Family(
        architecture="Siglip2VisionModel",
        blocks="encoder.layers",
        before=("embeddings",),
        embed=_siglip2,
        norm="layer_norm1",
        attention="self_attn",
        prefix=lambda config: 0,
        any_size=True,
    ),
    "dinov2": Family(
        architecture="Dinov2Model",
        blocks="encoder.layer",
        before=("embeddings",),
        embed=_plain,
        norm="norm1",
        attention="attention",
        prefix=lambda config: 1,
        any_size=True,
    ),
    "dinov2_with_registers": Family(
        architecture="Dinov2WithRegistersModel",
        blocks="encoder.layer",
        before=("embeddings",),
        embed=_plain,
        norm="norm1",
        attention="attention",
        prefix=lambda config: 1 + int(config.num_register_tokens),
        any_size=True,
    ),
    "vit": Family(
        architecture="ViTModel",
        blocks="layers",
        before=("embeddings",),
        embed=_plain,
        norm="layernorm_before",
        attention="attention",
        prefix=lambda config: 1,
    ),
}
"""Every supported family by name."""

_FAMILY_OF = {
    "clip": "clip",
    "clip_vision_model": "clip",
    "siglip": "siglip",
    "siglip_vision_model": "siglip",
    "siglip2": "siglip2",
    "siglip2_vision_model": "siglip2",
    "dinov2": "dinov2",
    "dinov2_with_registers": "dinov2_with_registers",
    "vit": "vit",
}


def family_of(model_type: str) -> str:
    """The family of a configuration's ``model_type``.

    Raises:
        UnsupportedModelError: for an architecture that is not supported, naming those that are.
    """
    if model_type not in _FAMILY_OF:
        raise UnsupportedModelError(
            f"The encoder's configuration says model_type {model_type!r}, which is not supported. "
            f"Supported are {', '.join(_FAMILY_OF)}: CLIP, SigLIP, SigLIP 2 (at a fixed "
            "resolution), DINOv2 with or without registers, and plain ViT, alone or in a LLaVA. "
            "Give the vision encoder itself, not another language model around it."
        )
    return _FAMILY_OF[model_type]
