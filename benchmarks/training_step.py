"""How much slower is a training step with two connectors than stock LLaVA's?

One interleaved run on the same batch: stock, single, parameter-matched, dual, ...; the ratio of
medians to stock and to single.
`python benchmarks/training_step.py [--device cuda --large] [--out FILE]`
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from diysink.model import DIYSinkConfig, DIYSinkForConditionalGeneration

SMALL = {
    "vision": {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 4,
               "num_attention_heads": 3, "image_size": 48, "patch_size": 8},
    "text": {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
             "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 400},
    "batch": 32,
}  # fmt: skip
LARGE = {  # LLaVA-1.5-7B's shapes with 4 of its 32 layers: the connector's share is an upper bound
    "vision": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
               "num_attention_heads": 16, "image_size": 336, "patch_size": 14},
    "text": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 4,
             "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32064},
    "batch": 4,
}  # fmt: skip


def build(kind: str, shapes: dict, device: str, dtype: torch.dtype):
    torch.manual_seed(0)
    vision = CLIPVisionConfig(**shapes["vision"])
    options = {
        "vision_config": vision,
        "text_config": LlamaConfig(**shapes["text"]),
        "image_token_index": 3,
        "image_seq_length": (vision.image_size // vision.patch_size) ** 2,
    }
    if kind == "stock":
        model = LlavaForConditionalGeneration(LlavaConfig(**options)).to(device, dtype)
    else:
        arrangement = "front" if kind == "dual" else "natural"
        config = DIYSinkConfig(**options, connector=kind, arrangement=arrangement)
        model = DIYSinkForConditionalGeneration(config).to(device, dtype)
    model.model.vision_tower.requires_grad_(False)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    shapes = LARGE if args.large else SMALL
    dtype = torch.bfloat16 if args.device.startswith("cuda") else torch.float32
    models = {
        k: build(k, shapes, args.device, dtype)
        for k in ("stock", "single", "parameter-matched", "dual")
    }
    batch, n = shapes["batch"], models["single"].config.image_seq_length
    side = shapes["vision"]["image_size"]
    pixels = torch.randn(batch, 3, side, side, device=args.device, dtype=dtype)
    with torch.no_grad():  # 1 token in 12 is a sink, as in the miniature
        norms = models["dual"].model.visual_states(pixels).float().norm(dim=-1)
    for model in models.values():
        model.config.tau = float(norms.flatten().quantile(11 / 12))
    ids = torch.randint(4, 100, (batch, n + 60), device=args.device)
    ids[:, 1 : n + 1] = 3
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
    # On a CPU: processor time of one thread, which a busy machine disturbs least.
    torch.set_num_threads(1)
    clock = time.perf_counter if "cuda" in args.device else time.process_time
    seconds: dict[str, list[float]] = {kind: [] for kind in models}
    for step in range(args.steps + 3):
        for kind, model in models.items():
            start = clock()
            model(**inputs, labels=ids).loss.backward()
            model.zero_grad(set_to_none=True)
            if args.device.startswith("cuda"):
                torch.cuda.synchronize()
            if step >= 3:  # the first ones warm up
                seconds[kind].append(clock() - start)
    median = {kind: statistics.median(times) for kind, times in seconds.items()}
    result = {
        "ratio_dual_to_stock": median["dual"] / median["stock"],
        "ratio_dual_to_single": median["dual"] / median["single"],
        "ratio_parameter_matched_to_single": median["parameter-matched"] / median["single"],
        "median_seconds": median,
        "steps": args.steps,
        "shapes": shapes,
        "device": torch.cuda.get_device_name() if "cuda" in args.device else platform.processor(),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }
    print(json.dumps(result, indent=2))
    print(f"dual / stock: {result['ratio_dual_to_stock']:.3f}")
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
