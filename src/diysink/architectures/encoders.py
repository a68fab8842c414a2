"""Every vision encoder that is supported: one row of one table each.

A row is added to `ENCODERS` to support another encoder; nothing else in the project asks what kind
of vision transformer it has. Traps that the table answers: SigLIP has no class token (dropping "the
first token" loses a real patch), DINOv2 with registers has 1 + 4 tokens that are not patches, CLIP
normalises before its first block, ViT-MAE masks and shuffles patches, some blocks need rotary
positions, and SigLIP 2's own class takes patches in place of images.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from torch import nn

from diysink.architectures import first_states
from diysink.architectures.errors import UnsupportedModelError
from diysink.architectures.first_states import Pixels, States
from diysink.architectures.refused import REFUSED_ENCODERS


@dataclass(frozen=True)
class EncoderFamily:
    """Where one architecture keeps its parts.

    Attributes:
        model_types: ``model_type`` of the configurations that it is for: of the vision part, and of
            a whole model that has nothing else to offer us.
        blocks: dotted path of its list of transformer blocks.
        attention: name, in a block, of the attention, which has ``v_proj`` and returns its weights
            under eager attention. None: it shows none.
        prefix: from the configuration, how many tokens stand before the patches.
        architecture: class of transformers that holds the vision part alone. None: the encoder
            only occurs inside a vision-language model, which runs it.
        before: names of the modules and weights that make the first hidden states.
        embed: pixels to the first hidden states, as the architecture itself does it.
        arguments: what each block takes beside hidden states, from pixels.
        any_size: whether it takes images of other sizes than its configuration names.
        epsilon: name, in the configuration, of the norms' epsilon.
        shapes: names, in the configuration, of what else shapes the computation, other than through
            the shapes of weights.
    """

    model_types: tuple[str, ...]
    blocks: str = "encoder.layers"
    attention: str | None = "self_attn"
    prefix: Callable[[Any], int] = lambda config: 0
    architecture: str | None = None
    before: tuple[str, ...] = ("embeddings",)
    embed: Callable[[Any, Pixels], States] = first_states.plain
    arguments: Callable[[Any, Pixels], dict[str, Any]] = first_states.nothing
    any_size: bool = False
    epsilon: str = "layer_norm_eps"
    shapes: tuple[str, ...] = ()

    def tower_of(self, model: Any) -> Any:
        """The vision encoder in a model, which may be that itself or have a head on it."""
        if type(model).__name__ == self.architecture:
            return model
        return getattr(model.base_model, "vision_model", model.base_model)

    def blocks_of(self, tower: Any) -> nn.ModuleList:
        """The transformer blocks of a vision encoder of this family."""
        blocks: nn.ModuleList = attrgetter(self.blocks)(tower)
        return blocks


def _class_token(config: Any) -> int:
    return 1


def _registers(config: Any) -> int:
    return 1 + int(config.num_register_tokens)


def _like_clip(name: str, architecture: str) -> EncoderFamily:
    return EncoderFamily(
        (name, f"{name}_vision_model"),
        architecture=architecture,
        before=("embeddings", "pre_layrnorm"),
        embed=first_states.clip,
        prefix=_class_token,
    )


def _in_qwen(*model_types: str) -> EncoderFamily:
    """Queries, keys and values in one projection; no attention weights are returned."""
    return EncoderFamily(model_types, blocks="blocks", attention=None)


_DINOV2 = EncoderFamily(
    ("dinov2",),
    architecture="Dinov2Model",
    blocks="encoder.layer",
    attention="attention",
    prefix=_class_token,
    any_size=True,
)
_VIT = EncoderFamily(
    ("vit",),
    architecture="ViTModel",
    blocks="layers",
    attention="attention",
    prefix=_class_token,
)

ENCODERS = {
    "clip": _like_clip("clip", "CLIPVisionModel"),
    "siglip": EncoderFamily(("siglip", "siglip_vision_model"), architecture="SiglipVisionModel"),
    "siglip2": EncoderFamily(
        ("siglip2", "siglip2_vision_model"),
        architecture="Siglip2VisionModel",
        embed=first_states.siglip2,
        any_size=True,
    ),
    "metaclip_2": _like_clip("metaclip_2", "MetaClip2VisionModel"),
    "altclip": _like_clip("altclip", "AltCLIPVisionModel"),
    "chinese_clip": _like_clip("chinese_clip", "ChineseCLIPVisionModel"),
    "clipseg": _like_clip("clipseg", "CLIPSegVisionModel"),
    "mlcd": EncoderFamily(
        ("mlcd", "mlcd_vision_model"),
        architecture="MLCDVisionModel",
        before=("embeddings", "pre_layrnorm", "vision_rotary_embedding", "class_pos_emb"),
        embed=first_states.clip,
        arguments=first_states.mlcd_rotation,
        prefix=_class_token,
        any_size=True,
        shapes=("rope_parameters",),
    ),
    "aimv2": EncoderFamily(
        ("aimv2", "aimv2_vision_model"),
        architecture="Aimv2VisionModel",
        attention="attention",
        epsilon="rms_norm_eps",
        shapes=("is_native",),
    ),
    "dinov2": _DINOV2,
    "dinov2_with_registers": replace(
        _DINOV2,
        model_types=("dinov2_with_registers",),
        architecture="Dinov2WithRegistersModel",
        prefix=_registers,
    ),
    "dinov3": replace(
        _DINOV2,
        model_types=("dinov3_vit",),
        architecture="DINOv3ViTModel",
        blocks="model.layer",
        before=("embeddings", "rope_embeddings"),
        arguments=first_states.dinov3_rotation,
        prefix=_registers,
        shapes=("rope_theta",),
    ),
    "radio": replace(
        _DINOV2,
        model_types=("radio",),
        architecture="RadioModel",
        before=("input_conditioner", "embeddings"),
        embed=first_states.radio,
        prefix=lambda config: int(config.num_cls_tokens + config.num_registers),
    ),
    "vit": _VIT,
    "deit": replace(_VIT, model_types=("deit",), architecture="DeiTModel", prefix=lambda config: 2),
    "vit_mae": replace(
        _VIT, model_types=("vit_mae",), architecture="ViTMAEModel", embed=first_states.vit_mae
    ),
    "ijepa": replace(
        _VIT, model_types=("ijepa",), architecture="IJepaModel", prefix=lambda config: 0
    ),
    "pixio": replace(
        _VIT,
        model_types=("pixio",),
        architecture="PixioModel",
        prefix=lambda config: int(config.n_cls_tokens),
        any_size=True,
    ),
    "beit": replace(
        _VIT,
        model_types=("beit",),
        architecture="BeitModel",
        before=("embeddings", "shared_position_bias"),
        arguments=first_states.beit_positions,
    ),
    "pixtral": EncoderFamily(("pixtral",), blocks="transformer.layers", attention="attention"),
    "internvl": EncoderFamily(
        ("internvl_vision",), blocks="encoder.layer", attention="attention", prefix=_class_token
    ),
    "idefics3": EncoderFamily(("idefics3_vision", "smolvlm_vision")),
    "qwen2_vl": _in_qwen("qwen2_vl_vision"),
    "qwen2_5_vl": _in_qwen("qwen2_5_vl_vision", "exaone4_5_vision"),
    "qwen3_vl": _in_qwen(
        "qwen3_vl_vision", "qwen3_vl_moe_vision", "qwen3_5_vision", "qwen3_5_moe_vision"
    ),
    "glm4v": _in_qwen("glm4v_vision", "glm4v_moe_vision", "glm_ocr_vision"),
    "ernie4_5_vl": _in_qwen("ernie4_5_vl_moe_vision"),
    "kimi_k25": replace(_in_qwen("kimi_k25_vision"), blocks="layers"),
    "gemma4": EncoderFamily(("gemma4_vision",)),
    "ovis2": EncoderFamily(
        ("ovis2_vision",), blocks="transformer.encoder.layers", attention="attention"
    ),
    "molmo2": EncoderFamily(("molmo2_vision",), blocks="layers"),
}
"""Every supported vision encoder by the name of its family."""


def encoder_family(model_type: str, *, alone: bool = False) -> str:
    """The family, a key of `ENCODERS`, of a configuration's ``model_type``.

    Args:
        model_type: of the vision encoder's configuration.
        alone: the encoder is to be run without a language model around it.

    Raises:
        UnsupportedModelError: for an architecture that is not supported: why, and which ones are.
    """
    families = {kind: name for name, row in ENCODERS.items() for kind in row.model_types}
    known = [kind for kind in families if ENCODERS[families[kind]].architecture or not alone]
    if model_type in known:
        return families[model_type]
    reason = REFUSED_ENCODERS.get(model_type)
    if model_type in families:
        reason = "it only occurs inside a vision-language model"
    raise UnsupportedModelError(
        f"The vision encoder's configuration says model_type {model_type!r}, which is not "
        f"supported{f' ({reason})' if reason else ''}. Supported are {', '.join(known)}"
        + (", alone or in a LLaVA. Give the vision encoder itself." if alone else ".")
    )
