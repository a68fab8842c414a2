"""The families of models that interventions know, by ``model_type``: one entry each.

Nothing else in the room asks what kind of model it has. What a family must have is the seam that
these share: an inner model whose ``get_image_features`` gives projected tokens, whose ``forward``
takes them back as ``mm_encoder_outputs``, and one placeholder for each token in the prompt. Our own
model has another seam (`diysink.interventions.spliced`).
"""

from diysink.architectures import UnsupportedModelError
from diysink.interventions.families import anyres, packed, rows
from diysink.interventions.families.picture import (
    Arguments,
    Family,
    Picture,
    feature_layer,
    last_layer,
)

FAMILIES = {
    "llava": Family(
        tower="vision_tower",
        layers=feature_layer,
        read=rows.llava,
        mapping="exact",
        note="one patch",
    ),
    "llava_next": Family(
        tower="vision_tower",
        layers=feature_layer,
        read=anyres.llava_next,
        mapping="exact",
        note="one patch of the overview or of a tile; newline tokens are separators",
    ),
    "llava_onevision": Family(
        tower="vision_tower",
        layers=feature_layer,
        read=anyres.llava_onevision,
        mapping="group-wise",
        note="one patch; up to four where a large image is shrunk; newline tokens are separators",
    ),
    "vipllava": Family(
        tower="vision_tower",
        layers=feature_layer,
        read=rows.vipllava,
        mapping="exact",
        note="one patch, its states at several layers side by side",
    ),
    "internvl": Family(
        tower="vision_tower",
        layers=feature_layer,
        read=rows.internvl,
        mapping="group-wise",
        note="pixel shuffle; the tiles of an image are one image",
        one_run=True,
    ),
    "gemma3": Family(
        tower="vision_tower",
        layers=last_layer,
        read=rows.gemma3,
        mapping="group-wise",
        note="the mean of a square of patches",
    ),
    "paligemma": Family(
        tower="vision_tower",
        layers=last_layer,
        read=rows.plain,
        mapping="exact",
        note="one patch",
    ),
    "idefics3": Family(
        tower="vision_model",
        layers=last_layer,
        read=rows.idefics3,
        mapping="group-wise",
        note="pixel shuffle; every tile is an image",
    ),
    "smolvlm": Family(
        tower="vision_model",
        layers=last_layer,
        read=rows.idefics3,
        mapping="group-wise",
        note="pixel shuffle; every tile is an image",
    ),
    "qwen2_vl": Family(
        tower="visual",
        layers=last_layer,
        read=packed.merged,
        mapping="group-wise",
        note="a square of patches side by side",
        coordinates=True,
    ),
    "qwen2_5_vl": Family(
        tower="visual",
        layers=last_layer,
        read=packed.windowed,
        mapping="group-wise",
        note="a square of patches side by side, out of window order",
        coordinates=True,
    ),
    "qwen3_vl": Family(
        tower="visual",
        layers=last_layer,
        read=packed.merged,
        mapping="group-wise",
        note="a square of patches side by side; deepstack features go along",
        coordinates=True,
    ),
    "glm4v": Family(
        tower="visual",
        layers=last_layer,
        read=packed.merged,
        mapping="group-wise",
        note="a convolution over a square of patches",
        coordinates=True,
    ),
    "mistral3": Family(
        tower="vision_tower",
        layers=feature_layer,
        read=packed.mistral3,
        mapping="group-wise",
        note="a square of patches side by side; row ends in the prompt stay where they are",
    ),
    "aya_vision": Family(
        tower="vision_tower",
        layers=feature_layer,
        read=rows.aya_vision,
        mapping="group-wise",
        note="pixel shuffle; every tile is an image",
    ),
    "cohere2_vision": Family(
        tower="vision_tower",
        layers=last_layer,
        read=rows.cohere2_vision,
        mapping="group-wise",
        note="pixel shuffle; the tiles of an image are one image",
        one_run=True,
    ),
    "deepseek_vl": Family(
        tower="vision_model",
        layers=last_layer,
        read=rows.plain,
        mapping="exact",
        note="one patch",
    ),
    "diysink": Family(
        tower="vision_tower",
        layers=feature_layer,
        read=rows.llava,
        mapping="exact",
        note="one patch; sinks are the model's own",
        encodes="see",
    ),
}
"""Every supported family by ``model_type``."""

BLOCKS = {
    "clip_vision_model": "encoder.layers",
    "siglip_vision_model": "encoder.layers",
    "pixtral": "transformer.layers",
    "internvl_vision": "encoder.layer",
    "idefics3_vision": "encoder.layers",
    "smolvlm_vision": "encoder.layers",
    "qwen2_vl_vision": "blocks",
    "qwen2_5_vl_vision": "blocks",
    "qwen3_vl_vision": "blocks",
    "glm4v_vision": "blocks",
}
"""Where each vision encoder (by its own ``model_type``) keeps its blocks."""


def family_of(model_type: str) -> Family:
    """The family of a configuration's ``model_type``.

    Raises:
        UnsupportedModelError: for a family that is not supported, naming those that are.
    """
    if model_type not in FAMILIES:
        raise UnsupportedModelError(
            f"The model's configuration says model_type {model_type!r}, which interventions do not "
            f"support. Supported are {', '.join(FAMILIES)}."
        )
    return FAMILIES[model_type]


__all__ = ["BLOCKS", "FAMILIES", "Arguments", "Family", "Picture", "family_of"]
