"""Inputs of vision-language models, made by hand as their processors would make them.

The processors of many families need torchvision, and a checkpoint's own is not here in a dry run.
These write the placeholders and tensors that a tiny model of the family takes.
"""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature

from diysink.architectures.shrunken import PATCH, SIDE

IMAGE = "<image>"
Pixels = tuple[dict[str, Tensor], int]
"""What a model takes for some images, and the visual tokens of each."""

_SQUARE = (SIDE // PATCH) ** 2


def _noise(images: Sequence[Any], *shape: int) -> Tensor:
    """Pixels that depend on the image, stacked."""
    seeds = [zlib.crc32(image.tobytes()) for image in images]
    each = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(each)


def _square(tokens: Callable[[Any], int]) -> Callable[[Any, Sequence[Any]], Pixels]:
    def made(config: Any, images: Sequence[Any]) -> Pixels:
        return {"pixel_values": _noise(images, 3, SIDE, SIDE)}, tokens(config)

    return made


def _packed(config: Any, images: Sequence[Any]) -> Pixels:
    vision = config.vision_config
    width = 3 * vision.temporal_patch_size * PATCH * PATCH
    grid = torch.tensor([[1, SIDE // PATCH, SIDE // PATCH]] * len(images))
    pixels = {"pixel_values": _noise(images, _SQUARE, width).flatten(0, 1), "image_grid_thw": grid}
    return pixels, _SQUARE // vision.spatial_merge_size**2


def _molmo2(config: Any, images: Sequence[Any]) -> Pixels:
    """An overview and one crop of each image; a token pools two by two patches."""
    side = SIDE // PATCH
    number = torch.arange(2 * len(images) * _SQUARE).reshape(-1, side, side)
    groups = number.unfold(1, 2, 2).unfold(2, 2, 2).reshape(-1, 4)
    pixels = {
        "pixel_values": _noise(images, 2, _SQUARE, 3 * PATCH * PATCH).flatten(0, 1),
        "image_token_pooling": groups,
        "image_grids": torch.tensor([[side // 2] * 4] * len(images)),
    }
    return pixels, 2 * _SQUARE // 4


PIXELS: dict[str, Callable[[Any, Sequence[Any]], Pixels]] = {
    "llava": _square(lambda config: _SQUARE),
    "gemma3": _square(lambda config: int(config.mm_tokens_per_image)),
    "internvl": _square(lambda config: int(_SQUARE * config.downsample_ratio**2)),
    "molmo2": _molmo2,
    **dict.fromkeys(
        ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"), _packed
    ),
}
"""How the families that a dry run can step take images, by ``model_type``."""


class HandMadeProcessor:
    """Stands in for a processor in `diysink.evaluation.lvlm.LVLM`.

    Args:
        config: of a tiny model of a family of `PIXELS`.
        tokenizer: has ``<image>`` as a special token.
    """

    chat_template = "USER: <image> question ASSISTANT: answer"

    def __init__(self, config: Any, tokenizer: Any) -> None:
        self.config, self.tokenizer = config, tokenizer

    def apply_chat_template(self, chats: Any, *, tokenize: bool = True, **_: Any) -> Any:
        """A batch of one image and question each; or, not tokenized, the text of one chat."""
        if not tokenize:
            return self._text(chats, 1)
        images = [part["image"] for chat in chats for turn in chat for part in turn["content"]
                  if part["type"] == "image"]  # fmt: skip
        pixels, count = PIXELS[self.config.model_type](self.config, images)
        texts = [self._text(chat, count) for chat in chats]
        made = self.tokenizer(
            texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
        )
        ids = made["input_ids"]
        inputs = {"input_ids": ids, "attention_mask": made["attention_mask"], **pixels}
        places = (ids == self.tokenizer.convert_tokens_to_ids(IMAGE)).long()
        if self.config.model_type == "gemma3":
            inputs["token_type_ids"] = places
        elif "image_grid_thw" in pixels or "image_grids" in pixels:
            inputs["mm_token_type_ids"] = places.int()
        return BatchFeature(inputs)

    @staticmethod
    def _text(chat: Any, count: int) -> str:
        said = ""
        for turn in chat:
            said += "USER: " if turn["role"] == "user" else "ASSISTANT: "
            for part in turn["content"]:
                said += IMAGE * count if part["type"] == "image" else f" {part['text']} "
        return said if chat[-1]["role"] == "assistant" else f"{said}ASSISTANT: "
