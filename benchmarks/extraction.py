"""What do sink statistics cost on top of the bare encoder forward that they need?

One interleaved run on the same batches: bare forward to the layer, then the same with attention
received and all statistics; the ratio of medians. Reading and decoding images is in neither.
`python benchmarks/extraction.py [--shape base|...] [--device cuda] [--out FILE]`.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel

from diysink.encoders import Encoder
from diysink.sinks import Layout, attention_relative_to_even, measure, patch_contrast

SHAPES = {
    "miniature": {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 4,
                  "num_attention_heads": 3, "image_size": 48, "patch_size": 8},
    "base": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
             "num_attention_heads": 12, "image_size": 224, "patch_size": 16},
    "large": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
              "num_attention_heads": 16, "image_size": 336, "patch_size": 14},
    "so400m": {"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
               "num_hidden_layers": 27, "num_attention_heads": 16, "image_size": 384,
               "patch_size": 14},
}  # fmt: skip
BATCH = {"miniature": 64, "base": 8, "large": 32, "so400m": 32}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(found, platform.processor())


def medians(
    ways: dict[str, Callable[[], None]], steps: int, cuda: bool, *, warm_up: int = 1
) -> dict[str, float]:
    """Median seconds of each way; in every step each runs once, one after the other."""
    # On a CPU: processor time of one thread, which a busy machine disturbs least.
    clock = time.perf_counter if cuda else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for step in range(steps + warm_up):
        for name, way in ways.items():
            start = clock()
            way()
            if step >= warm_up:
                seconds[name].append(clock() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def vision_model(shape: str) -> PreTrainedModel:
    """A vision tower of random weights."""
    config = AutoConfig.for_model(**{"model_type": "clip_vision_model", **SHAPES[shape]})
    return AutoModel.from_config(config).eval()


def machine(cuda: bool) -> dict[str, Any]:
    """What a number was measured on, and with."""
    return {
        "device": torch.cuda.get_device_name() if cuda else processor(),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }


def record(result: dict[str, Any], shape: str, cuda: bool, out: Path | None) -> None:
    """Print a result with its machine and versions, and add it to a JSON file."""
    whole = result | machine(cuda)
    print(json.dumps(whole, indent=2))
    if out:
        known = json.loads(out.read_text()) if out.exists() else {}
        known[f"{shape}, {'cuda' if cuda else 'cpu'}"] = whole
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


def compared(shape: str, device: str, steps: int, batch: int) -> dict[str, Any]:
    """Seconds of the bare forward and of what is measured on top of it, on the same images."""
    cuda = device.startswith("cuda")
    torch.manual_seed(0)
    dtype = torch.bfloat16 if cuda else torch.float32
    encoder = Encoder.of(vision_model(shape).to(device, dtype), -2)
    side = SHAPES[shape]["image_size"]
    pixels = torch.randn(batch, 3, side, side)
    rows, columns = encoder.grid(pixels)
    layout = Layout(rows, columns, encoder.dim)
    names = [f"image-{index}" for index in range(batch)]

    def bare() -> None:
        encoder(pixels.to(device, dtype)).sum().item()  # waits for the device

    def observed() -> None:
        encoder.observe(pixels.to(device, dtype)).hidden.sum().item()

    def measured() -> None:
        seen = encoder.observe(pixels.to(device, dtype))
        attention = attention_relative_to_even(seen.attention, seen.tokens)
        measure(layout, seen.hidden, attention, patch_contrast(pixels, rows, columns), names)

    ways: dict[str, Callable[[], None]] = {
        "bare": bare,
        "with attention": observed,
        "with statistics": measured,
    }
    with torch.inference_mode():
        median = medians(ways, steps, cuda, warm_up=2)
    return {
        "ratio_statistics_to_bare": median["with statistics"] / median["bare"],
        "ratio_attention_to_bare": median["with attention"] / median["bare"],
        "median_seconds": median,
        "images_per_second": batch / median["with statistics"],
        "batch": batch,
        "steps": steps,
        "shape": SHAPES[shape],
        "dtype": str(dtype).removeprefix("torch."),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="miniature")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--out", type=Path, help="add the result to this JSON file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    result = compared(args.shape, args.device, args.steps, BATCH[args.shape])
    record(result, args.shape, args.device.startswith("cuda"), args.out)
    print(f"statistics / bare forward: {result['ratio_statistics_to_bare']:.3f}")


if __name__ == "__main__":
    main()
