"""Every vision-language model that is supported: one row of one table each, by ``model_type``.

A row is added to `LVLMS` to support another family, and a reader in
`diysink.architectures.patches` if its patches become tokens in a new way. What a family must have:
an inner model whose ``get_image_features`` gives projected tokens, whose ``forward`` takes them
back as ``mm_encoder_outputs``, and one placeholder for each token in the prompt. A DIYSink model
splices its tokens itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from diysink.architectures.errors import UnsupportedModelError
from diysink.architectures.patches import anyres, packed, rows
from diysink.architectures.patches.image import Arguments, EncodedImage
from diysink.architectures.refused import REFUSED_LVLMS


def last_layer(inner: Any, arguments: Arguments) -> tuple[int, ...]:
    """The output of the last block."""
    return (-1,)


def feature_layer(inner: Any, arguments: Arguments) -> tuple[int, ...]:
    """``vision_feature_layer``: of the call, else of the configuration."""
    layer = arguments.get("vision_feature_layer")
    layer = inner.config.vision_feature_layer if layer is None else layer
    return (layer,) if isinstance(layer, int) else tuple(layer)


def adapter_layers(inner: Any, arguments: Arguments) -> tuple[int, ...]:
    """Molmo2 counts blocks, not what is before and after them."""
    layers = inner.config.adapter_config.vision_feature_layer
    return tuple(layer + 1 if layer >= 0 else layer for layer in layers)


@dataclass(frozen=True)
class LVLMFamily:
    """How one family of models makes its visual tokens.

    Attributes:
        read: the images, in the order of their tokens, given the inner model, the states at each
            layer in one tensor, and the arguments.
        mapping: ``exact``: a token is one patch; ``group-wise``: it is several, and as large as the
            largest.
        note: how patches become tokens, for people.
        tower: name of the vision encoder in the inner model.
        layers: hidden states that the connector reads, given the inner model and the arguments of
            ``get_image_features``: 0 is what enters the first block, -1 what leaves the last. Of
            several, the connector reads the concatenation.
        tiles: whether an image may become several tiles.
        coordinates: whether position ids are coordinates in the image (M-RoPE).
        one_run: whether images whose placeholders touch are tiles of one image.
        encodes: name of the inner model's method that encodes images.
        attends: whether every layer of its language model attends, in the checkpoints that there
            are. Of a model in hand `recurrent_layers` tells it.
    """

    read: Callable[[Any, Float[Tensor, "rows patches dim"], Arguments], list[EncodedImage]]
    mapping: Literal["exact", "group-wise"]
    note: str
    tower: str = "vision_tower"
    layers: Callable[[Any, Arguments], tuple[int, ...]] = last_layer
    tiles: bool = False
    coordinates: bool = False
    one_run: bool = False
    encodes: str = "get_image_features"
    attends: bool = True


_IDEFICS3 = LVLMFamily(
    rows.idefics3,
    "group-wise",
    "pixel shuffle; every tile is an image",
    tower="vision_model",
    tiles=True,
)

_QWEN = LVLMFamily(
    packed.merged,
    "group-wise",
    "a square of patches side by side",
    tower="visual",
    coordinates=True,
)
_QWEN3 = replace(_QWEN, note="a square of patches side by side; deepstack features go along")
_GLM = replace(_QWEN, note="a convolution over a square of patches")

LVLMS = {
    "llava": LVLMFamily(rows.llava, "exact", "one patch", layers=feature_layer),
    "llava_next": LVLMFamily(
        anyres.llava_next,
        "exact",
        "one patch of the overview or of a tile; newline tokens are separators",
        layers=feature_layer,
        tiles=True,
    ),
    "llava_onevision": LVLMFamily(
        anyres.llava_onevision,
        "group-wise",
        "one patch; up to four where a large image is shrunk; newline tokens are separators",
        layers=feature_layer,
        tiles=True,
    ),
    "vipllava": LVLMFamily(
        rows.vipllava,
        "exact",
        "one patch, its states at several layers side by side",
        layers=feature_layer,
    ),
    "internvl": LVLMFamily(
        rows.internvl,
        "group-wise",
        "pixel shuffle; the tiles of an image are one image",
        layers=feature_layer,
        tiles=True,
        one_run=True,
    ),
    "gemma3": LVLMFamily(rows.gemma3, "group-wise", "the mean of a square of patches"),
    "gemma4": LVLMFamily(packed.gemma4, "group-wise", "the mean of a square of patches"),
    "paligemma": LVLMFamily(rows.plain, "exact", "one patch"),
    "idefics3": _IDEFICS3,
    "smolvlm": _IDEFICS3,
    "qwen2_vl": _QWEN,
    "qwen2_5_vl": replace(
        _QWEN,
        read=packed.windowed,
        note="a square of patches side by side, out of window order",
    ),
    "exaone4_5": LVLMFamily(
        packed.windowed,
        "group-wise",
        "a square of patches side by side, out of window order",
        tower="visual",
    ),
    "qwen3_vl": _QWEN3,
    "qwen3_vl_moe": _QWEN3,
    "qwen3_5": replace(_QWEN, attends=False),
    "qwen3_5_moe": replace(_QWEN, attends=False),
    "glm4v": _GLM,
    "glm4v_moe": _GLM,
    "glm46v": _GLM,
    "glm_ocr": _GLM,
    "ernie4_5_vl_moe": replace(_QWEN, tower="vision_tower"),
    "kimi_k25": LVLMFamily(packed.kimi, "group-wise", "a square of patches side by side"),
    "mistral3": LVLMFamily(
        packed.mistral3,
        "group-wise",
        "a square of patches side by side; row ends in the prompt stay where they are",
        layers=feature_layer,
    ),
    "aya_vision": LVLMFamily(
        rows.aya_vision,
        "group-wise",
        "pixel shuffle; every tile is an image",
        layers=feature_layer,
        tiles=True,
    ),
    "cohere2_vision": LVLMFamily(
        rows.cohere2_vision,
        "group-wise",
        "pixel shuffle; the tiles of an image are one image",
        tiles=True,
        one_run=True,
    ),
    "deepseek_vl": LVLMFamily(rows.plain, "exact", "one patch", tower="vision_model"),
    "lfm2_vl": LVLMFamily(
        packed.lfm2_vl,
        "group-wise",
        "a square of patches side by side; every tile is an image",
        tiles=True,
        attends=False,
    ),
    "ovis2": LVLMFamily(
        rows.ovis2,
        "group-wise",
        "a square of patches side by side, in words of a visual vocabulary; every tile is an image",
        tiles=True,
    ),
    "molmo2": LVLMFamily(
        rows.molmo2,
        "group-wise",
        "a square of patches of the overview or of a crop, pooled by attention",
        layers=adapter_layers,
        tiles=True,
    ),
    "diysink": LVLMFamily(
        rows.llava,
        "exact",
        "one patch; sinks are the model's own",
        layers=feature_layer,
        encodes="see",
    ),
}
"""Every supported family by ``model_type``."""


def lvlm_family(model_type: str) -> LVLMFamily:
    """The family of a configuration's ``model_type``.

    Raises:
        UnsupportedModelError: for a family that is not supported: why, and which ones are.
    """
    if model_type not in LVLMS:
        reason = REFUSED_LVLMS.get(model_type)
        raise UnsupportedModelError(
            f"The model's configuration says model_type {model_type!r}, which is not supported"
            f"{f' ({reason})' if reason else ''}. Supported are {', '.join(LVLMS)}."
        )
    return LVLMS[model_type]
