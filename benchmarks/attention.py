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

from diysink.analysis.attention import AnsweredPrompts, answer_attention, reading

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
    model, questions = bench.model, bench.questions
    rows = [bench.chat_encoder.question(f"<image>\n{text}") for text in questions.texts]
    ids, mask = bench.chat_encoder.pad(rows, side="left")
    answers = torch.randint(20, 300, (len(ids), 8))
    prompts = AnsweredPrompts(ids, mask, questions.pixel_values, answers, end=1)
    read = reading(model, prompts)
    positions = (read.mask.cumsum(1) - 1).clamp(min=0)

    def encode() -> None:
        reading(model, prompts)

    def plain() -> None:
        encode()
        model.model.language_model(
            inputs_embeds=read.embeds, attention_mask=read.mask, position_ids=positions
        )

    run = {"plain": plain, "attention": lambda: answer_attention(model, prompts), "encode": encode}
    seconds: dict[str, list[float]] = {name: [] for name in run}
    for turn in range(args.rounds + 2):
        for name, way in run.items():
            start = time.process_time()
            way()
            if turn >= 2:
                seconds[name].append(time.process_time() - start)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    language = median["plain"] - median["encode"]
    memory = {name: peak(way, "cpu") for name, way in run.items()}
    result = {
        "ratio_to_plain": median["attention"] / median["plain"],
        "ratio_of_language_model_alone": (median["attention"] - median["encode"]) / language,
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
