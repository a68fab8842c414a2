"""Every vision-language model that is supported: one row of one table each, by ``model_type``.

A row is added to `LVLMS` to support another family, and a reader in
`diysink.architectures.patches` if its patches become tokens in a new way. What a family must have:
an inner model whose ``get_image_features`` gives projected tokens, whose ``forward`` takes them
back as ``mm_encoder_outputs``, and one placeholder for each token in the prompt. A DIYSink model
splices its tokens itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from diysink.architectures.errors import UnsupportedModelError
from diysink.architectures.patches import anyres, packed, rows
from diysink.architectures.patches.image import Arguments, EncodedImage


def last_layer(inner: Any, arguments: Arguments) -> tuple[int, ...]:
    """The output of the last block."""
    return (-1,)


def feature_layer(inner: Any, arguments: Arguments) -> tuple[int, ...]:
    """``vision_feature_layer``: of the call, else of the configuration."""
    layer = arguments.get("vision_feature_layer")
    layer = inner.config.vision_feature_layer if layer is None else layer
    return (layer,) if isinstance(layer, int) else tuple(layer)


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


LVLMS = {
    "llava": LVLMFamily(
        layers=feature_layer,
        read=rows.llava,
        mapping="exact",
        note="one patch",
    ),
    "llava_next": LVLMFamily(
        layers=feature_layer,
        read=anyres.llava_next,
        mapping="exact",
        note="one patch of the overview or of a tile; newline tokens are separators",
        tiles=True,
    ),
    "llava_onevision": LVLMFamily(
        layers=feature_layer,
        read=anyres.llava_onevision,
        mapping="group-wise",
        note="one patch; up to four where a large image is shrunk; newline tokens are separators",
        tiles=True,
    ),
    "vipllava": LVLMFamily(
        layers=feature_layer,
        read=rows.vipllava,
        mapping="exact",
        note="one patch, its states at several layers side by side",
    ),
    "internvl": LVLMFamily(
        layers=feature_layer,
        read=rows.internvl,
        mapping="group-wise",
        note="pixel shuffle; the tiles of an image are one image",
        tiles=True,
        one_run=True,
    ),
    "gemma3": LVLMFamily(
        read=rows.gemma3,
        mapping="group-wise",
        note="the mean of a square of patches",
    ),
    "paligemma": LVLMFamily(
        read=rows.plain,
        mapping="exact",
        note="one patch",
    ),
    "idefics3": LVLMFamily(
        tower="vision_model",
        read=rows.idefics3,
        mapping="group-wise",
        note="pixel shuffle; every tile is an image",
        tiles=True,
    ),
    "smolvlm": LVLMFamily(
        tower="vision_model",
        read=rows.idefics3,
        mapping="group-wise",
        note="pixel shuffle; every tile is an image",
        tiles=True,
    ),
    "qwen2_vl": LVLMFamily(
        tower="visual",
        read=packed.merged,
        mapping="group-wise",
        note="a square of patches side by side",
        coordinates=True,
    ),
    "qwen2_5_vl": LVLMFamily(
        tower="visual",
        read=packed.windowed,
        mapping="group-wise",
        note="a square of patches side by side, out of window order",
        coordinates=True,
    ),
    "qwen3_vl": LVLMFamily(
        tower="visual",
        read=packed.merged,
        mapping="group-wise",
        note="a square of patches side by side; deepstack features go along",
        coordinates=True,
    ),
    "glm4v": LVLMFamily(
        tower="visual",
        read=packed.merged,
        mapping="group-wise",
        note="a convolution over a square of patches",
        coordinates=True,
    ),
    "mistral3": LVLMFamily(
        layers=feature_layer,
        read=packed.mistral3,
        mapping="group-wise",
        note="a square of patches side by side; row ends in the prompt stay where they are",
    ),
    "aya_vision": LVLMFamily(
        layers=feature_layer,
        read=rows.aya_vision,
        mapping="group-wise",
        note="pixel shuffle; every tile is an image",
        tiles=True,
    ),
    "cohere2_vision": LVLMFamily(
        read=rows.cohere2_vision,
        mapping="group-wise",
        note="pixel shuffle; the tiles of an image are one image",
        tiles=True,
        one_run=True,
    ),
    "deepseek_vl": LVLMFamily(
        tower="vision_model",
        read=rows.plain,
        mapping="exact",
        note="one patch",
    ),
    "diysink": LVLMFamily(
        layers=feature_layer,
        read=rows.llava,
        mapping="exact",
        note="one patch; sinks are the model's own",
        encodes="see",
    ),
}
"""Every supported family by ``model_type``."""


def lvlm_family(model_type: str) -> LVLMFamily:
    """The family of a configuration's ``model_type``.

    Raises:
        UnsupportedModelError: for a family that is not supported, naming those that are.
    """
    if model_type not in LVLMS:
        raise UnsupportedModelError(
            f"The model's configuration says model_type {model_type!r}, which is not supported. "
            f"Supported are {', '.join(LVLMS)}."
        )
    return LVLMS[model_type]
