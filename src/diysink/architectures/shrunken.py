"""A tiny configuration of an architecture: the same classes in small widths.

A random model of it runs in a moment on a CPU, through the same code as the large one. Images have
4 x 4 patches of 4 x 4 pixels.
"""

from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

PATCH, SIDE = 4, 16
"""Pixels of a patch, and of an image."""

_HEADS, _HEAD = 2, 8
_WIDTHS: dict[str, Any] = {
    "hidden_size": _HEADS * _HEAD,
    "embed_dim": _HEADS * _HEAD,
    "out_hidden_size": _HEADS * _HEAD,
    "text_hidden_size": _HEADS * _HEAD,
    "projector_hidden_size": _HEADS * _HEAD,
    "hidden_size_per_layer_input": 4,
    "intermediate_size": 24,
    "moe_intermediate_size": 12,
    "shared_expert_intermediate_size": 12,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "num_attention_heads": _HEADS,
    "num_heads": _HEADS,
    "head_dim": _HEAD,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": _HEAD,
    "linear_value_head_dim": _HEAD,
    "linear_conv_kernel_dim": 3,
    "num_position_embeddings": (SIDE // PATCH) ** 2,
    "num_patches": (SIDE // PATCH) ** 2,
    "window_size": SIDE,
    "max_img_size": SIDE,
    "projection_dim": _HEADS * _HEAD,
    "mm_tokens_per_image": 4,
    "sliding_window": 128,
    "additional_vocab_size": 4,
    "partial_rotary_factor": 0.5,
}
_SQUARES = {"image_size": SIDE, "patch_size": PATCH}
_FROM_HEADS = ("rope_parameters", "rope_scaling")


def shrunken(
    config: PreTrainedConfig,
    *,
    vocabulary: int,
    special: Mapping[str, int],
    depth: int | None = None,
) -> PreTrainedConfig:
    """The configuration of a tiny model of the same architecture.

    Args:
        config: of a vision encoder, a language model or a vision-language model.
        vocabulary: tokens of the tiny tokenizer.
        special: token ids by the configuration's names (``image_token_id``, ``pad_token_id``,
            ...); a name that the configuration lacks is passed over.
        depth: the first so many layers, if there are more; of a vision-language model, of its
            language model. None: all.
    """
    values = config.to_dict()
    text = values["text_config"] if isinstance(values.get("text_config"), dict) else values
    if depth is not None:
        _cut(text, depth)
    return AutoConfig.for_model(**_shrunken(values, vocabulary, special))


def _cut(values: dict[str, Any], depth: int) -> None:
    """Leave the first layers, and what is said of these, in place."""
    before = values["num_hidden_layers"]
    values["num_hidden_layers"] = min(before, depth)
    for name, value in values.items():
        if isinstance(value, list) and len(value) == before:
            values[name] = value[:depth]


def _shrunken(
    values: Mapping[str, Any], vocabulary: int, special: Mapping[str, int]
) -> dict[str, Any]:
    small: dict[str, Any] = {}
    for name, value in values.items():
        match value:
            case dict() if name.endswith("_config"):
                small[name] = _shrunken(value, vocabulary, special)
            case None:
                small[name] = None
            case _ if name in special:
                small[name] = special[name]
            case _ if name in _WIDTHS:
                small[name] = _WIDTHS[name]
            case _ if name in _SQUARES:
                square = _SQUARES[name]
                small[name] = [square] * len(value) if isinstance(value, list | tuple) else square
            case _ if name == "vocab_size":
                small[name] = vocabulary
            case _ if name == "num_key_value_heads":
                same = value == values.get("num_attention_heads")
                small[name] = _HEADS if same else _HEADS // 2
            case dict() if name in _FROM_HEADS:
                small[name] = _rotary(value)
            case _:
                small[name] = value
    return small


def _rotary(value: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary settings whose sections fill a head of the tiny model, where they have sections."""
    if "mrope_section" in value:
        return dict(value) | {"mrope_section": [1, 1, _HEAD // 2 - 2], "partial_rotary_factor": 1.0}
    return dict(value) | (
        {"partial_rotary_factor": 0.5} if "partial_rotary_factor" in value else {}
    )
