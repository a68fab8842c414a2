"""Tiny models of families that read images of any size, and batches for them."""

from typing import Any

import torch

from tests.interventions.tiny_parts import (
    END,
    IMAGE,
    MROPE,
    SPECIAL,
    START,
    TEXT,
    VIDEO,
    VISION,
    VOCABULARY,
    framed,
    make,
    prompts,
    siglip,
)


def qwen(name: str, vision: dict[str, Any], **text: Any) -> tuple[Any, dict[str, Any], list[int]]:
    """Images of 4 x 6, 4 x 4 and 6 x 4 patches, merged two by two."""
    model = make(
        name,
        vision_config={"patch_size": 4, "temporal_patch_size": 2, "spatial_merge_size": 2} | vision,
        text_config=TEXT | {"rope_parameters": dict(MROPE), "rope_scaling": dict(MROPE)} | text,
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


GLM = {
    "depth": 2,
    "hidden_size": 16,
    "intermediate_size": 24,
    "out_hidden_size": 16,
    "num_heads": 2,
    "image_size": 16,
}


def glm4v() -> tuple[Any, dict[str, Any], list[int]]:
    return qwen("glm4v", GLM)


def qwen3_vl_moe() -> tuple[Any, dict[str, Any], list[int]]:
    return qwen(
        "qwen3_vl_moe",
        {
            "depth": 3,
            "hidden_size": 16,
            "intermediate_size": 24,
            "out_hidden_size": 16,
            "num_heads": 2,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
        },
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=12,
    )


def qwen3_5(name: str = "qwen3_5", **text: Any) -> tuple[Any, dict[str, Any], list[int]]:
    """Two layers of linear attention, one of full."""
    linear = {"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8}
    linear |= {"linear_value_head_dim": 8, "linear_conv_kernel_dim": 3}
    return qwen(
        name,
        {
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "out_hidden_size": 16,
            "num_heads": 2,
            "num_position_embeddings": 16,
        },
        layer_types=["linear_attention", "full_attention", "linear_attention"],
        **linear,
        **text,
    )


def qwen3_5_moe() -> tuple[Any, dict[str, Any], list[int]]:
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
    return qwen3_5("qwen3_5_moe", **experts, shared_expert_intermediate_size=12)


def lfm2_vl() -> tuple[Any, dict[str, Any], list[int]]:
    """Images of 4 x 6, 4 x 4 and 6 x 4 patches, padded to 24."""
    model = make(
        "lfm2_vl",
        vision_config=siglip(model_type="siglip2_vision_model", num_patches=16),
        text_config=TEXT
        | {"model_type": "lfm2", "layer_types": ["conv", "full_attention", "conv"]}
        | {"block_multiple_of": 8, "conv_L_cache": 3},
        downsample_factor=2,
        projector_hidden_size=16,
        **SPECIAL,
    )
    shapes = torch.tensor([[4, 6], [4, 4], [6, 4]])
    counts = shapes.prod(-1)
    mask = (torch.arange(24) < counts[:, None]).int()
    inputs = prompts(*[framed(count // 4) for count in counts.tolist()])
    inputs |= {
        "pixel_values": torch.randn(3, 24, 3 * 4 * 4) * mask[..., None],
        "spatial_shapes": shapes,
        "pixel_attention_mask": mask,
    }
    return model, inputs, (counts // 4).tolist()


def glm46v() -> tuple[Any, dict[str, Any], list[int]]:
    return qwen("glm46v", GLM | {"model_type": "glm4v_vision"}, model_type="glm4v_text")


def glm_ocr() -> tuple[Any, dict[str, Any], list[int]]:
    return qwen("glm_ocr", {name: size for name, size in GLM.items() if name != "model_type"})


def exaone4_5() -> tuple[Any, dict[str, Any], list[int]]:
    """Windows as in Qwen2.5-VL; positions are places."""
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 16}
    vision |= {"num_heads": 2, "num_key_value_heads": 1, "window_size": 16}
    model, inputs, tokens = qwen(
        "exaone4_5",
        vision | {"fullatt_block_indexes": [1]},
        model_type="exaone4",
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        sliding_window=128,
    )
    del inputs["mm_token_type_ids"]
    return model, inputs, tokens


def glm4v_moe() -> tuple[Any, dict[str, Any], list[int]]:
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
    # Half of a head is rotated.
    return qwen(
        "glm4v_moe", GLM, **experts, head_dim=16, first_k_dense_replace=1, n_group=1, topk_group=1
    )


def ernie4_5_vl_moe() -> tuple[Any, dict[str, Any], list[int]]:
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2}
    model, inputs, tokens = qwen(
        "ernie4_5_vl_moe",
        vision,
        moe_num_experts=4,
        moe_k=2,
        moe_intermediate_size=[12, 8],
    )
    inputs["pixel_values"] = torch.randn(len(inputs["pixel_values"]), 3 * 4 * 4)
    seen = torch.isin(inputs["input_ids"], torch.tensor([IMAGE, START, END]))
    return model, inputs | {"moe_mm_token_type_ids": seen.int()}, tokens


def kimi_k25() -> tuple[Any, dict[str, Any], list[int]]:
    latent = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4}
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
    model = make(
        "kimi_k25",
        vision_config=VISION | {"hidden_size": 16, "pos_emb_height": 4, "pos_emb_width": 4},
        text_config=TEXT
        | {"model_type": "deepseek_v3", "num_key_value_heads": 2, "head_dim": 4, "v_head_dim": 8}
        | latent
        | experts
        | {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1},
        projection_hidden_size=16,
        video_token_id=VIDEO,
        **SPECIAL,
    )
    grids = torch.tensor([[1, 4, 6], [1, 4, 4], [1, 6, 4]])
    counts = grids.prod(-1)
    inputs = prompts(*[framed(count // 4) for count in counts.tolist()])
    inputs |= {
        "pixel_values": torch.randn(int(counts.sum()), 3, 4, 4),
        "image_grid_thw": grids,
    }
    return model, inputs, (counts // 4).tolist()


def gemma4(**text: Any) -> tuple[Any, dict[str, Any], list[int]]:
    """Images of 4 x 6, 4 x 4 and 6 x 4 patches, padded to 24, pooled two by two."""
    model = make(
        "gemma4",
        vision_config=VISION
        | {"hidden_size": 16, "head_dim": 8, "num_key_value_heads": 2, "pooling_kernel_size": 2}
        | {"position_embedding_size": 16},
        text_config=TEXT
        | {"global_head_dim": 8, "sliding_window": 128, "hidden_size_per_layer_input": 4}
        | {"vocab_size_per_layer_input": VOCABULARY, "num_kv_shared_layers": 0}
        | text,
        audio_config=None,
        **SPECIAL,
    )
    places = torch.full((3, 24, 2), -1)
    for row, (height, width) in zip(places, [(4, 6), (4, 4), (6, 4)], strict=True):
        number = torch.arange(height * width)
        row[: height * width] = torch.stack([number % width, number // width], dim=-1)
    pixels = torch.rand(3, 24, 3 * 4 * 4) * (places >= 0).all(-1, keepdim=True)
    inputs = prompts(framed(6), framed(4), framed(6))
    inputs |= {"pixel_values": pixels, "image_position_ids": places}
    return model, inputs | {"mm_token_type_ids": (inputs["input_ids"] == IMAGE).int()}, [6, 4, 6]


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
