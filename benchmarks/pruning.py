"""What does seeing sinks alone save in a stock model: tokens taken out, and tokens masked?

Random weights at a middle size, 576 visual tokens of which one in 120 is a sink. One interleaved
run, every way once a round in another order, as a ratio to the plain answer of the same round;
processor time of one thread. `python -m benchmarks.pruning [--out FILE]`.
"""

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING

from benchmarks.card.answers import tokens_read, with_seconds
from benchmarks.card.stock import asked, llava, made, ways
from benchmarks.extraction import machine

TOKENS, SHARE = 576, 1 / 120
TEXT = {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 12,
        "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 64,
        "vocab_size": 32000, "max_position_embeddings": 2048}  # fmt: skip
VISION = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6,
          "num_attention_heads": 6}  # fmt: skip


def of_llava() -> tuple[Any, Any]:
    """One patch a token, causal."""
    vision = VISION | {"image_size": 336, "patch_size": 14}
    return llava({"vision": vision, "text": TEXT}, "cpu", torch.float32, 1)


def of_gemma3() -> tuple[Any, Any]:
    """Sixteen patches a token; image tokens see each other both ways."""
    config = CONFIG_MAPPING["gemma3"](
        vision_config=VISION | {"model_type": "siglip_vision_model", "image_size": 672,
                                "patch_size": 14, "vision_use_head": False},
        text_config=TEXT | {"model_type": "gemma3_text"},
        mm_tokens_per_image=TOKENS, image_token_id=3,
    )  # fmt: skip
    inputs = asked(TOKENS, 1)
    kinds = {"token_type_ids": (inputs["input_ids"] == 3).long()}
    pixels = {"pixel_values": torch.randn(1, 3, 672, 672)}
    return made(config, "cpu", torch.float32), inputs | kinds | pixels


def of_qwen3_vl() -> tuple[Any, Any]:
    """Four patches a token; coordinates as positions; deepstack features."""
    config = CONFIG_MAPPING["qwen3_vl"](
        vision_config={"depth": 6, "hidden_size": 384, "intermediate_size": 1536, "num_heads": 6,
                       "out_hidden_size": 1024, "patch_size": 14,
                       "deepstack_visual_indexes": [1, 3, 5]},
        text_config=TEXT | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6,
                                                "mrope_section": [12, 10, 10]}},
        image_token_id=3, video_token_id=4, vision_start_token_id=5, vision_end_token_id=6,
    )  # fmt: skip
    inputs = asked(TOKENS, 1)
    image = {
        "pixel_values": torch.randn(48 * 48, 3 * 2 * 14 * 14),
        "image_grid_thw": torch.tensor([[1, 48, 48]]),
        "mm_token_type_ids": (inputs["input_ids"] == 3).int(),
    }
    return made(config, "cpu", torch.float32), inputs | image


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "llava": of_llava,
    "gemma3": of_gemma3,
    "qwen3_vl": of_qwen3_vl,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(), **machine(False), "rounds": args.rounds,
        "text": TEXT, "vision": VISION, "visual_tokens": TOKENS, "families": {},
    }  # fmt: skip
    for name, build in FAMILIES.items():
        model, inputs = build()
        tower = "visual" if hasattr(model.model, "visual") else "vision_tower"
        for new_tokens in (1, 16):
            run = ways(model, inputs, SHARE, new_tokens)
            language = model.model.get_decoder()
            read = {way: {"tokens_read": tokens_read(language, call)} for way, call in run.items()}
            rows = with_seconds(read, run, args.rounds, "cpu")
            found["families"].setdefault(name, {})[f"{new_tokens} new tokens"] = rows
            for way, row in rows.items():
                print(f"{name:9} {new_tokens:3} {way:20} {row['tokens_read']:4} tokens "
                      f"{row['seconds']:.2f} s {row['ratio']:.3f}", flush=True)  # fmt: skip
        parts = {"encoder": getattr(model.model, tower), "language": model.model.get_decoder()}
        found["families"][name]["parameters"] = {
            part: sum(weight.numel() for weight in module.parameters())
            for part, module in parts.items()
        }
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
