"""Latency of an answer under each selection, of the models and ways in `benchmarks/answer.py`.

Ratios are to a plain answer in the same round. "sinks only" drops the other visual tokens before
the language model reads the prompt; the tokens that it really reads are counted beside its time.
How much that saves depends on how long an answer is and how many are given at once: reading the
prompt gets shorter, and writing an answer, token by token, does not. So there are several loads.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.answer import Bench, Way, build, peak, run_ways, timed
from benchmarks.card.cards import attempt
from benchmarks.card.stock import llava
from benchmarks.card.stock import ways as stock_ways
from benchmarks.card.variants import attention, compile_decoder

WAYS = ("base", "front", "reweight", "cot, cached: both", "cot, cached: sink", "sinks only")
ENCODER = "encoder alone"  # what no way of answering is without


@dataclass(frozen=True)
class Load:
    """Questions that are asked at once, and new tokens of each answer."""

    batch: int
    new_tokens: int

    def __str__(self) -> str:
        return f"batch {self.batch}, {self.new_tokens} new tokens"


LOADS = {
    "7b": (Load(1, 16), Load(1, 1), Load(32, 16), Load(32, 1)),
    "0.5b": (Load(1, 16), Load(32, 16)),
    "tiny": (Load(2, 4),),
}


def loads(shapes: str, device: str) -> tuple[Load, ...]:
    """What is asked at once; of a model of some size, a CPU is asked one question alone."""
    found = LOADS[shapes]
    return found if device.startswith("cuda") else found[:1]


def tokens_read(language_model: Any, way: Way) -> int:
    """Tokens of the longest sequence that a language model reads at once; 0: none."""
    lengths: list[int] = []

    def note(module: Any, positional: Any, given: dict[str, Any]) -> None:
        embeds = given.get("inputs_embeds")
        lengths.append(given["input_ids"].shape[1] if embeds is None else embeds.shape[1])

    hook = language_model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        way()
    finally:
        hook.remove()
    return max(lengths, default=0)


@torch.no_grad()
def answered(
    shapes: dict[str, Any],
    load: Load,
    device: str,
    rounds: int,
    *,
    compiled: bool = False,
    kinds: Sequence[str] = (),
) -> dict[str, Any]:
    """Of each way: seconds, its ratio to a plain answer, tokens read, memory beyond the weights.

    Args:
        shapes: of the model.
        load: what is asked.
        device: where.
        rounds: in each of which every way is timed.
        compiled: the decoder is, and the plain answer and sinks only are asked for.
        kinds: of attention, by which the uncompiled model gives the plain answer, too.
    """
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    bench = build(shapes | {"batch": load.batch}, device, dtype, None)
    all_ways = run_ways(bench, load.new_tokens)
    if compiled:
        run = {name: all_ways[name] for name in ("base", "sinks only")}
    else:
        run = {name: all_ways[name] for name in WAYS}
        run[ENCODER] = lambda: bench.model.model.visual_states(bench.questions.pixel_values)
        run |= {f"base, {kind}": under(bench, all_ways["base"], kind) for kind in kinds}
    language = bench.model.model.language_model
    read = {name: attempt(lambda way=way: {"tokens_read": tokens_read(language, way)})
            for name, way in run.items()}  # fmt: skip
    if compiled:  # only now: the hooks above are not for compiled modules
        compile_decoder(bench.model)
    works = {name: way for name, way in run.items() if "error" not in read[name]}
    for way in [*works.values()] * (2 * compiled):  # a length is compiled for, then any length
        way()
    return with_seconds(read, works, rounds, device)


def stock(
    shapes: dict[str, Any], load: Load, device: str, rounds: int, *, share: float
) -> dict[str, Any]:
    """The same of a stock LLaVA: plain, sinks alone, and those with the others masked."""
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    model, inputs = llava(shapes, device, dtype, load.batch)
    run = stock_ways(model, inputs, share, load.new_tokens)
    language = model.model.language_model
    read = {name: {"tokens_read": tokens_read(language, way)} for name, way in run.items()}
    return with_seconds(read, run, rounds, device)


def with_seconds(
    read: dict[str, dict[str, Any]], run: dict[str, Way], rounds: int, device: str
) -> dict[str, dict[str, Any]]:
    """What is known of each way, with its seconds, ratios to a plain answer, and peak memory.

    Every way has run before, when its tokens were counted: that has warmed it up.
    """
    for name, row in timed(run, rounds, device, warm_up=0).items():
        read[name] |= {
            "seconds": row["seconds"],
            "ratio": statistics.median(row["ratios"]),
            "ratios": row["ratios"],
            "peak_gb": peak(run[name], device) / 1e9 if device.startswith("cuda") else None,
        }
    return read


def under(bench: Bench, way: Way, kind: str) -> Callable[[], Any]:
    """A way with one kind of attention."""

    def run() -> Any:
        with attention(bench.model, kind):
            return way()

    return run
