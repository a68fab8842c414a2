"""Every vision encoder that is supported: one row of one table each.

A row is added to `ENCODERS` to support another encoder; nothing else in the project asks what kind
of vision transformer it has. Traps that the table answers: SigLIP has no class token (dropping "the
first token" loses a real patch), DINOv2 with registers has 1 + 4 tokens that are not patches, CLIP
normalises before its first block, and SigLIP 2's own class takes patches in place of images.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diysink.architectures.errors import UnsupportedModelError

Pixels = Float[Tensor, "batch channels height width"]
States = Float[Tensor, "batch tokens dim"]


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


@dataclass(frozen=True)
class EncoderFamily:
    """Where one architecture keeps its parts.

    Attributes:
        model_types: ``model_type`` of the configurations that it is for: of the vision part, and of
            a whole model that has nothing else to offer us.
        blocks: dotted path of its list of transformer blocks.
        norm: name, in a block, of the norm before attention.
        attention: name, in a block, of the attention, which has ``q_proj``, ``k_proj`` and
            ``v_proj`` and returns its weights under eager attention. None: it shows none.
        prefix: from the configuration, how many tokens stand before the patches.
        architecture: class of transformers that holds the vision part alone. None: the encoder
            only occurs inside a vision-language model, which runs it.
        before: dotted paths of the modules that make the first hidden states.
        embed: pixels to the first hidden states, as the architecture itself does it.
        any_size: whether it interpolates its position embeddings to the image.
    """

    model_types: tuple[str, ...]
    blocks: str = "encoder.layers"
    norm: str = "layer_norm1"
    attention: str | None = "self_attn"
    prefix: Callable[[Any], int] = lambda config: 0
    architecture: str | None = None
    before: tuple[str, ...] = ("embeddings",)
    embed: Callable[[Any, Pixels], States] = _plain
    any_size: bool = False

    def blocks_of(self, tower: Any) -> nn.ModuleList:
        """The transformer blocks of a vision encoder of this family."""
        blocks: nn.ModuleList = attrgetter(self.blocks)(tower)
        return blocks


def _in_qwen(model_type: str) -> EncoderFamily:
    """Queries, keys and values in one projection; no attention weights are returned."""
    return EncoderFamily((model_type,), blocks="blocks", norm="norm1", attention=None)


_DINOV2 = EncoderFamily(
    ("dinov2",),
    architecture="Dinov2Model",
    blocks="encoder.layer",
    norm="norm1",
    attention="attention",
    prefix=lambda config: 1,
    any_size=True,
)

ENCODERS = {
    "clip": EncoderFamily(
        ("clip", "clip_vision_model"),
        architecture="CLIPVisionModel",
        before=("embeddings", "pre_layrnorm"),
        embed=_clip,
        prefix=lambda config: 1,
    ),
    "siglip": EncoderFamily(("siglip", "siglip_vision_model"), architecture="SiglipVisionModel"),
    "siglip2": EncoderFamily(
        ("siglip2", "siglip2_vision_model"),
        architecture="Siglip2VisionModel",
        embed=_siglip2,
        any_size=True,
    ),
    "dinov2": _DINOV2,
    "dinov2_with_registers": replace(
        _DINOV2,
        model_types=("dinov2_with_registers",),
        architecture="Dinov2WithRegistersModel",
        prefix=lambda config: 1 + int(config.num_register_tokens),
    ),
    "vit": EncoderFamily(
        ("vit",),
        architecture="ViTModel",
        blocks="layers",
        norm="layernorm_before",
        attention="attention",
        prefix=lambda config: 1,
    ),
    "pixtral": EncoderFamily(
        ("pixtral",), blocks="transformer.layers", norm="attention_norm", attention="attention"
    ),
    "internvl": EncoderFamily(
        ("internvl_vision",),
        blocks="encoder.layer",
        norm="layernorm_before",
        attention="attention",
        prefix=lambda config: 1,
    ),
    "idefics3": EncoderFamily(("idefics3_vision", "smolvlm_vision")),
    "qwen2_vl": _in_qwen("qwen2_vl_vision"),
    "qwen2_5_vl": _in_qwen("qwen2_5_vl_vision"),
    "qwen3_vl": _in_qwen("qwen3_vl_vision"),
    "glm4v": _in_qwen("glm4v_vision"),
}
"""Every supported vision encoder by the name of its family."""


def encoder_family(model_type: str, *, alone: bool = False) -> str:
    """The family, a key of `ENCODERS`, of a configuration's ``model_type``.

    Args:
        model_type: of the vision encoder's configuration.
        alone: the encoder is to be run without a language model around it.

    Raises:
        UnsupportedModelError: for an architecture that is not supported, naming those that are.
    """
    known = {
        kind: name
        for name, family in ENCODERS.items()
        for kind in family.model_types
        if family.architecture or not alone
    }
    if model_type not in known:
        raise UnsupportedModelError(
            f"The vision encoder's configuration says model_type {model_type!r}, which is not "
            f"supported. Supported are {', '.join(known)}"
            + (", alone or in a LLaVA. Give the vision encoder itself." if alone else ".")
        )
    return known[model_type]
