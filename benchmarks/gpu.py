"""What does a card reach: training, extraction, answers, at 7B and at 0.5B shapes?

Random weights, made on the card. One command measures, prints a table beside what is to be reached,
and writes everything to `benchmarks/results/gpu.json` (on a CPU only where `--out` says so):

- training: stage 2 of 7B with LoRA and of 0.5B in full, by the project's own training and the
  presets' settings: tokens a second (visual ones included), model FLOPs utilisation (its formula is
  in `benchmarks/card/flops.py`), memory; with and without gradient checkpointing, torch.compile of
  the decoder and flash attention;
- extraction: images a second with attention and statistics, as a share of the bare encoder's;
- answers: plain, sinks in front, ReW, CoT cached, sinks only; compiled, and by attention;
- stock: a LLaVA that knows nothing of sinks, plain and with `Keep("sink")` around it.

    python -m benchmarks.gpu                              # everything, on the first card
    python -m benchmarks.gpu --shapes 7b --only answers
    python -m benchmarks.gpu --shapes tiny --device cpu   # a minute: does the script work?
    python -m benchmarks.gpu --shapes 0.5b --device cpu --only extraction,answers,stock --steps 3

What fails, for memory or another reason, is recorded with its error, and the rest goes on. Times
are medians after a warm-up; on a CPU, of the processor time of one thread. A target is judged at 7B
shapes on a card alone.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.answer import SHAPES
from benchmarks.card.answers import LOADS, answered, loads
from benchmarks.card.answers import stock as stock_answered
from benchmarks.card.cards import attempt, card
from benchmarks.card.table import lines
from benchmarks.card.training import RECIPES, cases, trained, utilisation
from benchmarks.card.variants import attentions
from benchmarks.extraction import BATCH, compared

ENCODERS = {"7b": "large", "0.5b": "so400m", "tiny": "miniature"}
OUT = Path(__file__).parent / "results/gpu.json"


def training(shapes: str, device: str, steps: int, peak_tflops: float | None) -> dict[str, Any]:
    """Every case of every recipe."""

    def one(recipe: Any, case: Any) -> dict[str, Any]:
        result = trained(recipe, case, SHAPES[shapes], device, steps)
        return result | utilisation(result, peak_tflops)

    return {
        name: {str(case): attempt(lambda r=recipe, c=case: one(r, c)) for case in cases()}
        for name, recipe in RECIPES[shapes].items()
    }


def extraction(shapes: str, device: str, steps: int, peak_tflops: float | None) -> dict[str, Any]:
    """The encoder of these shapes: images a second, and their share of the bare encoder's."""
    name = ENCODERS[shapes]
    whole = device.startswith("cuda") or shapes == "tiny"
    batch = BATCH[name] if whole else 1

    def one() -> dict[str, Any]:
        result = compared(name, device, steps, batch)
        return result | {"share": 1 / result["ratio_statistics_to_bare"]}

    return {"one encoder": {f"{name}, batch {batch}": attempt(one)}}


def answers(shapes: str, device: str, steps: int, peak_tflops: float | None) -> dict[str, Any]:
    """Every load; the first one also compiled and by kinds of attention, but on a slow CPU."""
    first, *rest = loads(shapes, device)
    varied = device.startswith("cuda") or shapes == "tiny"
    kinds = attentions() if varied else ()
    asked = [(first, False), *[(first, True)] * varied, *((load, False) for load in rest)]
    return {
        f"{load}{', compiled' if compiled else ''}": attempt(
            lambda load=load, c=compiled: answered(
                SHAPES[shapes], load, device, steps, compiled=c, kinds=kinds
            )
        )
        for load, compiled in asked
    }


def stock(shapes: str, device: str, steps: int, peak_tflops: float | None) -> dict[str, Any]:
    """A stock LLaVA, in every load."""
    share = SHAPES[shapes]["sink_share"]
    return {
        str(load): attempt(
            lambda load=load: stock_answered(SHAPES[shapes], load, device, steps, share=share)
        )
        for load in loads(shapes, device)
    }


SECTIONS: dict[str, Callable[[str, str, int, float | None], dict[str, Any]]] = {
    "extraction": extraction,
    "answers": answers,
    "stock": stock,
    "training": training,
}


def measured(
    shapes: Sequence[str],
    only: Sequence[str],
    device: str,
    steps: int,
    *,
    peak_tflops: float | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Measure the sections one after the other; the file is written after each of them.

    What a file already has of the same card and versions stays, but for what is measured again.
    """
    found: dict[str, Any] = {
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "card": card(device.startswith("cuda"), peak_tflops),
        "results": {},
    }
    if out and out.exists():
        known = json.loads(out.read_text())
        found["results"] = known["results"] if known["card"] == found["card"] else {}
    for name in shapes:
        for section in only:
            print(f"{name}: {section} ...", flush=True)
            of_section = SECTIONS[section](name, device, steps, found["card"]["peak_tflops"])
            found["results"].setdefault(name, {})[section] = of_section
            if out:
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_text(json.dumps(found, indent=2) + "\n")
    return found


def sections(text: str) -> list[str]:
    """Names of sections, with commas."""
    names = text.split(",")
    if unknown := [name for name in names if name not in SECTIONS]:
        raise argparse.ArgumentTypeError(
            f"unknown: {', '.join(unknown)}; there are {', '.join(SECTIONS)}"
        )
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", choices=LOADS, nargs="+", default=["7b", "0.5b"])
    parser.add_argument("--only", type=sections, default=list(SECTIONS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, help="of which a median is taken")
    parser.add_argument("--peak-tflops", type=float, help="dense bf16, of a card not in the table")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    cuda = args.device.startswith("cuda")
    if cuda and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device; to try the script: --shapes tiny --device cpu")
    if not cuda:
        torch.set_num_threads(1)
    steps = args.steps or (5 if cuda else 1)
    out = args.out or (OUT if cuda else None)
    found = measured(
        args.shapes, args.only, args.device, steps, peak_tflops=args.peak_tflops, out=out
    )
    print("\n".join(lines(found)))


if __name__ == "__main__":
    main()
