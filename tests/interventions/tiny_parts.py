"""What tiny models of all families share: sizes, special tokens, prompts."""

from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

from diysink.architectures import LVLMS

PAD, IMAGE, START, END, VIDEO = 0, 60, 61, 62, 63
VOCABULARY = 64
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 512,
    "pad_token_id": PAD,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
VISION = {
    "hidden_size": 12,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
}
OF_TOKENS = ("token_type_ids", "mm_token_type_ids", "moe_mm_token_type_ids")
# Image tokens see the image tokens after them.
BOTH_WAYS = {"gemma3", "gemma4_large", "paligemma", "molmo2"}
RECURRENT = {kind for kind, family in LVLMS.items() if not family.attends}
SPECIAL = {"image_token_id": IMAGE, "pad_token_id": PAD}
MROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}


def spread(model: Any) -> None:
    """Larger weights: with those of a fresh model, no token matters to any other."""
    with torch.no_grad():
        for path, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.25)
            elif path.endswith("newline"):
                weight.normal_()


def sequences(*rows: list[int]) -> dict[str, torch.Tensor]:
    """Rows padded on the left, and their mask."""
    longest = max(map(len, rows))
    ids = torch.tensor([[PAD] * (longest - len(row)) + row for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def text(*tokens: int) -> list[int]:
    return [10 + token for token in tokens]


def prompts(first: list[int], second: list[int], third: list[int]) -> dict[str, torch.Tensor]:
    """Two prompts around three images' placeholders."""
    return sequences(
        text(1, 2) + first + text(3),
        text(4) + second + text(5, 6) + third + text(7, 8, 9),
    )


def framed(count: int) -> list[int]:
    return [START, *[IMAGE] * count, END]


def make(name: str, **settings: Any) -> Any:
    config = CONFIG_MAPPING[name](**settings)
    config._attn_implementation = "sdpa"
    return AutoModelForImageTextToText.from_config(config)


def one_row(name: str, count: int, **settings: Any) -> tuple[Any, dict[str, Any], list[int]]:
    """Families of a fixed number of tokens for each image."""
    model = make(name, **({"text_config": TEXT} | SPECIAL | settings))
    inputs = prompts(*[framed(count)] * 3) | {"pixel_values": torch.randn(3, 3, 16, 16)}
    return model, inputs, [count] * 3


def clip(**settings: Any) -> dict[str, Any]:
    return VISION | {"model_type": "clip_vision_model"} | settings


def siglip(**settings: Any) -> dict[str, Any]:
    return VISION | {"model_type": "siglip_vision_model", "vision_use_head": False} | settings


def llama(**settings: Any) -> dict[str, Any]:
    return TEXT | {"model_type": "llama"} | settings
