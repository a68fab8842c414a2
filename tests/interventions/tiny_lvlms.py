"""One tiny random model of every family, and a batch for it as its processor would give it.

The batch: two sequences, padded on the left, the first with one image and the second with two, in
sizes that exercise what the family does to sizes (tiles, cut borders, windows, padding).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

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
SPECIAL = {"image_token_id": IMAGE, "pad_token_id": PAD}
MROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}


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
    model.generation_config.update(
        suppress_tokens=[IMAGE, VIDEO], eos_token_id=None, pad_token_id=PAD, bos_token_id=1
    )
    return Tiny(name, model, inputs, tokens)


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
    model = make(name, text_config=TEXT, **(SPECIAL | settings))
    inputs = prompts(*[framed(count)] * 3) | {"pixel_values": torch.randn(3, 3, 16, 16)}
    return model, inputs, [count] * 3


def clip(**settings: Any) -> dict[str, Any]:
    return VISION | {"model_type": "clip_vision_model"} | settings


def siglip(**settings: Any) -> dict[str, Any]:
    return VISION | {"model_type": "siglip_vision_model", "vision_use_head": False} | settings


def llama(**settings: Any) -> dict[str, Any]:
    return TEXT | {"model_type": "llama"} | settings


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


def qwen(name: str, vision: dict[str, Any], **text: Any) -> tuple[Any, dict[str, Any], list[int]]:
    """Images of 4 x 6, 4 x 4 and 6 x 4 patches, merged two by two."""
    model = make(
        name,
        vision_config={"patch_size": 4, "temporal_patch_size": 2, "spatial_merge_size": 2} | vision,
        text_config=TEXT | {"rope_parameters": MROPE, "rope_scaling": MROPE} | text,
        video_token_id=VIDEO,
        vision_start_token_id=START,
        vision_end_token_id=END,
        image_start_token_id=START,
        image_end_token_id=END,
        **SPECIAL,
    )
    grids = torch.tensor([[1, 4, 6], [1, 4, 4], [1, 6, 4]])
    counts = grids.prod(-1)
    inputs = prompts(*[framed(count // 4) for count in counts.tolist()])
    inputs |= {
        "pixel_values": torch.randn(int(counts.sum()), 3 * 2 * 4 * 4),
        "image_grid_thw": grids,
        "mm_token_type_ids": (inputs["input_ids"] == IMAGE).int(),
    }
    return model, inputs, (counts // 4).tolist()


def qwen2_vl() -> tuple[Any, dict[str, Any], list[int]]:
    return qwen("qwen2_vl", {"depth": 2, "embed_dim": 16, "hidden_size": 16, "num_heads": 2})


def qwen2_5_vl() -> tuple[Any, dict[str, Any], list[int]]:
    """Windows of 2 x 2 tokens, which the second and third image do not fill evenly."""
    return qwen(
        "qwen2_5_vl",
        {
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "out_hidden_size": 16,
            "num_heads": 2,
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
    )


def qwen3_vl() -> tuple[Any, dict[str, Any], list[int]]:
    return qwen(
        "qwen3_vl",
        {
            "depth": 3,
            "hidden_size": 16,
            "intermediate_size": 24,
            "out_hidden_size": 16,
            "num_heads": 2,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
        },
    )


def glm4v() -> tuple[Any, dict[str, Any], list[int]]:
    return qwen(
        "glm4v",
        {
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "out_hidden_size": 16,
            "num_heads": 2,
            "image_size": 16,
        },
    )


def mistral3() -> tuple[Any, dict[str, Any], list[int]]:
    vision = VISION | {"model_type": "pixtral", "head_dim": 8, "hidden_size": 16}
    model = make(
        "mistral3",
        vision_config=vision,
        text_config=TEXT | {"model_type": "mistral", "sliding_window": None},
        vision_feature_layer=-1,
        spatial_merge_size=2,
        **SPECIAL,
    )
    sizes = torch.tensor([[16, 24], [16, 8], [24, 16]])
    rows = [[*[IMAGE] * (w // 8), START] * (h // 8) for h, w in sizes.tolist()]
    pixels = torch.zeros(3, 3, 24, 24)
    for pixel, (height, width) in zip(pixels, sizes.tolist(), strict=True):
        pixel[:, :height, :width] = torch.randn(3, height, width)
    return model, prompts(*rows) | {"pixel_values": pixels, "image_sizes": sizes}, [6, 2, 6]


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
    "mistral3": mistral3,
    "aya_vision": aya_vision,
    "cohere2_vision": cohere2_vision,
    "deepseek_vl": deepseek_vl,
}
