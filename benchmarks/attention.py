"""What does it cost to see where answers look, in all layers, next to reading alone?

One interleaved run over the same prompts and answers: the language model's plain forward, and the
forward that gives each visual token's attention from the answer's positions in every layer. The
ratio of medians; memory is the peak beyond the weights, as PyTorch's profiler counts it.

    python benchmarks/attention.py [--large] [--rounds N] [--out FILE]

`--large`: 576 visual tokens, width 1024, 4 layers (one image); else the miniature's shapes.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from answer import SHAPES, build, peak

from diysink.analysis.attention import attention_received
from diysink.analysis.diysink_subject import DIYSinkSubject
from diysink.model import AnswerGenerator

LARGE = {
    "vision": SHAPES["7b"]["vision"] | {"num_hidden_layers": 2},
    "text": {"hidden_size": 1024, "intermediate_size": 2752, "num_hidden_layers": 4,
             "num_attention_heads": 8, "num_key_value_heads": 8},
    "sentence": SHAPES["tiny"]["sentence"], "lsg": (1,), "batch": 1, "sink_share": 1 / 120,
}  # fmt: skip


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    shapes = LARGE if args.large else SHAPES["tiny"]
    bench = build(shapes, "cpu", torch.float32, None)
    processor = None  # images are random pixel values here
    subject = DIYSinkSubject(AnswerGenerator(bench.model, bench.chat_encoder, processor))
    encoded = subject.encode_pixels(bench.questions.pixel_values)
    prompts = subject.prompts(encoded, bench.questions.texts, max_new_tokens=8)

    def attention() -> None:
        layers = []
        subject.read_language(
            prompts,
            lambda layer: layers.append(
                attention_received(layer, prompts.generated, prompts.index).mean(1)
            ),
        )

    run = {
        "plain": lambda: subject.language_states(prompts, lambda layer, states: None),
        "attention": attention,
    }
    seconds: dict[str, list[float]] = {name: [] for name in run}
    for turn in range(args.rounds + 2):
        for name, way in run.items():
            start = time.process_time()
            way()
            if turn >= 2:
                seconds[name].append(time.process_time() - start)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    memory = {name: peak(way, "cpu") for name, way in run.items()}
    result = {
        "ratio_to_plain": median["attention"] / median["plain"],
        "peak_ratio": memory["attention"] / memory["plain"],
        "median_seconds": median,
        "shapes": shapes,
        "device": platform.machine(),
        "threads": 1,
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }
    print(json.dumps({k: v for k, v in result.items() if "ratio" in k}, indent=2))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
