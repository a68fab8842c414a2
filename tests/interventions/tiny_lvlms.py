"""One tiny random model of every family, and a batch for it as its processor would give it.

The batch: two sequences, padded on the left, the first with one image and the second with two, in
sizes that exercise what the family does to sizes (tiles, cut borders, windows, padding).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tests.interventions.tiny_packed import (
    ernie4_5_vl_moe,
    exaone4_5,
    gemma4,
    glm4v,
    glm4v_moe,
    glm46v,
    glm_ocr,
    kimi_k25,
    lfm2_vl,
    mistral3,
    qwen2_5_vl,
    qwen2_vl,
    qwen3_5,
    qwen3_5_moe,
    qwen3_vl,
    qwen3_vl_moe,
)
from tests.interventions.tiny_parts import (
    END,
    IMAGE,
    PAD,
    SPECIAL,
    START,
    TEXT,
    VIDEO,
    VISION,
    clip,
    framed,
    llama,
    make,
    one_row,
    prompts,
    siglip,
    spread,
)


@dataclass(frozen=True)
class Tiny:
    """A model and its batch; ``tokens`` counts the visual tokens of each image in order."""

    name: str
    model: Any
    inputs: dict[str, Any]
    tokens: list[int]

    @property
    def images(self) -> list[int]:
        """Visual tokens of each image: InternVL's second one is two images."""
        return [4, 8, 4] if self.name == "internvl" else self.tokens


def build(name: str) -> Tiny:
    torch.manual_seed(0)
    model, inputs, tokens = BUILDERS[name]()
    model = model.eval()
    spread(model)
    # A random model may well say "image", which stands for an image that is not there.
    marks = getattr(model.config, "visual_indicator_token_ids", ())
    model.generation_config.update(
        suppress_tokens=[IMAGE, VIDEO, *marks], eos_token_id=None, pad_token_id=PAD, bos_token_id=1
    )
    return Tiny(name, model, inputs, tokens)


def llava() -> tuple[Any, dict[str, Any], list[int]]:
    model = make("llava", vision_config=clip(), text_config=llama(), **SPECIAL)
    inputs = prompts(*[[IMAGE] * 16] * 3) | {"pixel_values": torch.randn(3, 3, 16, 16)}
    return model, inputs, [16] * 3


def llava_pixtral() -> tuple[Any, dict[str, Any], list[int]]:
    vision = VISION | {"model_type": "pixtral", "head_dim": 8, "hidden_size": 16}
    model = make(
        "llava",
        vision_config=vision,
        text_config=llama(),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        **SPECIAL,
    )
    sizes = torch.tensor([[8, 12], [16, 8], [12, 12]])
    rows = [[*[IMAGE] * (w // 4), START] * (h // 4) for h, w in sizes.tolist()]
    pixels = torch.zeros(3, 3, 16, 12)
    for pixel, (height, width) in zip(pixels, sizes.tolist(), strict=True):
        pixel[:, :height, :width] = torch.randn(3, height, width)
    return model, prompts(*rows) | {"pixel_values": pixels, "image_sizes": sizes}, [6, 8, 9]


def vipllava() -> tuple[Any, dict[str, Any], list[int]]:
    model = make(
        "vipllava",
        vision_config=clip(),
        text_config=llama(),
        vision_feature_layers=[-2, 1],
        vision_feature_layer=[-2, 1],
        **SPECIAL,
    )
    inputs = prompts(*[[IMAGE] * 16] * 3) | {"pixel_values": torch.randn(3, 3, 16, 16)}
    return model, inputs, [16] * 3


def tiled(name: str, **settings: Any) -> tuple[Any, dict[str, Any], list[int]]:
    """Overview and tiles: a wide image, one of a single tile beside its overview, a tall one."""
    model = make(
        name, image_grid_pinpoints=[[16, 32], [32, 16], [16, 16], [32, 32]], **settings, **SPECIAL
    )
    sizes = torch.tensor([[11, 30], [16, 16], [30, 30]])
    tiles = [3, 2, 5]
    pixels = torch.zeros(3, 5, 3, 16, 16)
    for pixel, count in zip(pixels, tiles, strict=True):
        pixel[:count] = torch.randn(count, 3, 16, 16)
    inputs = {"pixel_values": pixels, "image_sizes": sizes}
    with torch.no_grad():
        encoded = model.model.get_image_features(**inputs).pooler_output
    tokens = [len(one) for one in encoded]
    return model, prompts(*[[IMAGE] * count for count in tokens]) | inputs, tokens


def llava_next() -> tuple[Any, dict[str, Any], list[int]]:
    return tiled("llava_next", vision_config=clip(), text_config=llama())


def llava_onevision() -> tuple[Any, dict[str, Any], list[int]]:
    return tiled(
        "llava_onevision",
        vision_config=siglip(),
        text_config=TEXT | {"model_type": "qwen2"},
        video_token_id=VIDEO,
        vision_aspect_ratio="anyres_max_2",
    )


def internvl() -> tuple[Any, dict[str, Any], list[int]]:
    """The second sequence's first image is two tiles in one run."""
    vision = VISION | {
        "model_type": "internvl_vision",
        "image_size": [16, 16],
        "patch_size": [4, 4],
        "attention_bias": True,
    }
    model = make(
        "internvl", vision_config=vision, text_config=TEXT | {"model_type": "qwen2"}, **SPECIAL
    )
    inputs = prompts(framed(4), framed(8), framed(4))
    return model, inputs | {"pixel_values": torch.randn(4, 3, 16, 16)}, [4, 4, 4, 4]


def gemma3() -> tuple[Any, dict[str, Any], list[int]]:
    model = make(
        "gemma3",
        vision_config=siglip(),
        text_config=TEXT | {"model_type": "gemma3_text", "sliding_window": 128},
        mm_tokens_per_image=4,
        **SPECIAL,
    )
    inputs = prompts(*[framed(4)] * 3)
    kinds = (inputs["input_ids"] == IMAGE).long()
    return (
        model,
        inputs | {"pixel_values": torch.randn(3, 3, 16, 16), "token_type_ids": kinds},
        [4] * 3,
    )


def paligemma() -> tuple[Any, dict[str, Any], list[int]]:
    model = make(
        "paligemma",
        vision_config=siglip(),
        text_config=TEXT | {"model_type": "gemma"},
        projection_dim=16,
        **SPECIAL,
    )
    inputs = prompts(*[[IMAGE] * 16] * 3)
    kinds = torch.zeros_like(inputs["input_ids"])  # all of it prefix, as in inference
    return (
        model,
        inputs | {"pixel_values": torch.randn(3, 3, 16, 16), "token_type_ids": kinds},
        [16] * 3,
    )


def idefics(name: str) -> tuple[Any, dict[str, Any], list[int]]:
    """A tile too few in the first sequence, and an image with a blank border."""
    model = make(
        name,
        vision_config=VISION | {"model_type": f"{name}_vision"},
        text_config=llama(),
        scale_factor=2,
        **SPECIAL,
    )
    pixels = torch.randn(2, 2, 3, 16, 16)
    pixels[0, 1] = 0
    shown = torch.ones(2, 2, 16, 16, dtype=torch.long)
    shown[0, 1] = 0
    shown[1, 1, 8:] = 0
    pixels[1, 1, :, 8:] = 0
    inputs = prompts(*[framed(4)] * 3)
    return model, inputs | {"pixel_values": pixels, "pixel_attention_mask": shown}, [4] * 3


def ovis2() -> tuple[Any, dict[str, Any], list[int]]:
    return one_row(
        "ovis2",
        4,
        vision_config=VISION | {"hidden_stride": 2, "vocab_size": 24},
        text_config=TEXT | {"model_type": "qwen2"},
        hidden_size=16,
        visual_indicator_token_ids=[START, END, 57, 58, 59],
    )


def molmo2() -> tuple[Any, dict[str, Any], list[int]]:
    """An overview and crops: 1 + 1, 1 + 2, 1 + 1; an image's last token pools two patches."""
    vision = VISION | {"hidden_size": 16, "head_dim": 8, "num_key_value_heads": 2}
    adapter = {"hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    model = make(
        "molmo2",
        vision_config=vision | {"image_size": [16, 16]},
        adapter_config=adapter
        | {"vision_feature_layer": [-1, 0], "intermediate_size": 24, "text_hidden_size": 16},
        text_config=TEXT | {"additional_vocab_size": 4},
        image_patch_id=IMAGE,
    )
    groups, grids, crop = [], [], 0
    for crops in (1, 2, 1):
        for own in range(1 + crops):
            number = torch.arange(16).reshape(4, 4) + 16 * (crop + own)
            groups.append(number.unfold(0, 2, 2).unfold(1, 2, 2).reshape(4, 4).clone())
        groups[-1][-1, 2:] = -1
        grids.append([2, 2, 2, 2 * crops])
        crop += 1 + crops
    tokens = [8, 12, 8]
    inputs = prompts(*[framed(count) for count in tokens])
    inputs |= {
        "pixel_values": torch.randn(crop, 16, 3 * 4 * 4),
        "image_token_pooling": torch.cat(groups),
        "image_grids": torch.tensor(grids),
        "mm_token_type_ids": (inputs["input_ids"] == IMAGE).int(),
    }
    return model, inputs, tokens


def aya_vision() -> tuple[Any, dict[str, Any], list[int]]:
    return one_row(
        "aya_vision",
        4,
        vision_config=siglip(),
        downsample_factor=2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )


def cohere2_vision() -> tuple[Any, dict[str, Any], list[int]]:
    return one_row(
        "cohere2_vision",
        4,
        vision_config=siglip(),
        downsample_factor=2,
        alignment_intermediate_size=16,
    )


def deepseek_vl() -> tuple[Any, dict[str, Any], list[int]]:
    return one_row("deepseek_vl", 16, vision_config=siglip())


BUILDERS: dict[str, Callable[[], tuple[Any, dict[str, Any], list[int]]]] = {
    "llava": llava,
    "llava_pixtral": llava_pixtral,
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "vipllava": vipllava,
    "internvl": internvl,
    "gemma3": gemma3,
    "paligemma": paligemma,
    "idefics3": lambda: idefics("idefics3"),
    "smolvlm": lambda: idefics("smolvlm"),
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "glm4v": glm4v,
    "qwen3_vl_moe": qwen3_vl_moe,
    "qwen3_5": qwen3_5,
    "qwen3_5_moe": qwen3_5_moe,
    "lfm2_vl": lfm2_vl,
    "glm46v": glm46v,
    "glm4v_moe": glm4v_moe,
    "glm_ocr": glm_ocr,
    "exaone4_5": exaone4_5,
    "ernie4_5_vl_moe": ernie4_5_vl_moe,
    "kimi_k25": kimi_k25,
    "gemma4": gemma4,
    "gemma4_large": lambda: gemma4(use_bidirectional_attention="vision"),
    "ovis2": ovis2,
    "molmo2": molmo2,
    "mistral3": mistral3,
    "aya_vision": aya_vision,
    "cohere2_vision": cohere2_vision,
    "deepseek_vl": deepseek_vl,
}
