"""What does one long dialogue cost its batch, and what does a limit of tokens save?

A batch of 8 dialogues: 7 short ones of 730 tokens, of which 576 are visual, and one of many turns,
4,096 tokens together. A step (forward and backward, gradients of the connector) of a LLaVA with
1/32 of LLaVA-1.5-7B's width and 2 layers: the long one as it is, cut at 2,048 tokens (as LLaVA
does), ended at a turn within 2,048 or 1,024, and left out. Seconds, and the peak of memory above
the model's own.
`python benchmarks/long_dialogue.py [--device cuda] [--steps 5] [--out FILE]`
"""

import argparse
import json
import multiprocessing
import platform
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPVisionConfig, LlamaConfig

from diysink.model import DIYSinkConfig, DIYSinkForConditionalGeneration
from diysink.training import ConnectorTraining

VISUAL, SHORT, BATCH = 576, 730, 8
TURN = 130  # tokens of a question and its answer
LENGTHS = {
    "all short": SHORT,
    "as it is": 4096,
    "cut at 2048": 2048,
    "ended at a turn, 2048": VISUAL + (2048 - VISUAL) // TURN * TURN,
    "ended at a turn, 1024": VISUAL + (1024 - VISUAL) // TURN * TURN,
}


def training(device: str) -> ConnectorTraining:
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        image_size=336, patch_size=14,
    )  # fmt: skip
    text = LlamaConfig(
        hidden_size=128, intermediate_size=344, num_hidden_layers=2, num_attention_heads=4,
        vocab_size=2000, max_position_embeddings=8192,
    )  # fmt: skip
    config = DIYSinkConfig(
        vision_config=vision, text_config=text, image_token_index=3, image_seq_length=VISUAL,
        connector="dual",
    )  # fmt: skip
    model = DIYSinkForConditionalGeneration(config).to(device)
    return ConnectorTraining(model, "all", learning_rate=1e-3, max_steps=1)


def batch(longest: int, device: str) -> dict[str, Any]:
    lengths = torch.tensor([SHORT] * (BATCH - 1) + [longest])
    places = torch.arange(int(lengths.max()))
    mask = (places < lengths[:, None]).long()
    ids = torch.randint(4, 2000, mask.shape) * mask
    ids[:, 1 : VISUAL + 1] = 3
    labels = ids.masked_fill((mask == 0) | (ids == 3), -100)
    pixels = torch.randn(BATCH, 3, 336, 336)
    tensors = {"input_ids": ids, "attention_mask": mask, "labels": labels, "pixel_values": pixels}
    return {name: tensor.to(device) for name, tensor in tensors.items()} | {
        "questions": ("",) * BATCH, "groups": (None,) * BATCH,
    }  # fmt: skip


def measure(longest: int, device: str, steps: int) -> dict[str, float]:
    """Median seconds of a step, and the peak of memory above that before the first, in MiB."""
    torch.set_num_threads(1)
    trained, seconds = training(device), []
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if cuda else peak()
    # On a CPU: processor time of one thread, which a busy machine disturbs least.
    clock = time.perf_counter if cuda else time.process_time
    for _ in range(steps + 1):
        given = batch(longest, device)
        start = clock()
        trained.batch_loss(given).backward()
        trained.zero_grad(set_to_none=True)
        if cuda:
            torch.cuda.synchronize()
        seconds.append(clock() - start)
    used = (torch.cuda.max_memory_allocated() if cuda else peak()) - before
    return {"seconds": statistics.median(seconds[1:]), "mebibytes": used / 2**20}


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = {}
    for name, longest in LENGTHS.items():
        # A process of its own: the peak of one never falls.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[name] = pool.apply(measure, (longest, args.device, args.steps))
        print(name, found[name], flush=True)
    base = found["all short"]
    result = {
        "ratios_to_all_short": {
            name: {key: value / base[key] for key, value in one.items()}
            for name, one in found.items()
        },
        "measured": found,
        "longest": LENGTHS,
        "batch": BATCH,
        "steps": args.steps,
        "device": torch.cuda.get_device_name() if "cuda" in args.device else platform.machine(),
        "threads": 1,
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }
    print(json.dumps(result["ratios_to_all_short"], indent=2))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
