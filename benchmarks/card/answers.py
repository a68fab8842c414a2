"""Latency of an answer under each selection, of the models and ways in `benchmarks/answer.py`.

Ratios are to a plain answer in the same round. "sinks only" drops the other visual tokens before
the language model reads the prompt; the tokens that it really reads are counted beside its time.
How much that saves depends on how long an answer is and how many are given at once: reading the
prompt gets shorter, and writing an answer, token by token, does not. So there are several loads.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.answer import Bench, Way, build, peak, run_ways, timed
from benchmarks.card.cards import attempt
from benchmarks.card.variants import attention, attentions, compile_decoder

WAYS = ("base", "front", "reweight", "cot, cached: both", "cot, cached: sink", "sinks only")


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


def tokens_read(bench: Bench, way: Way) -> int:
    """Tokens of the longest sequence that the language model reads at once."""
    lengths: list[int] = []

    def note(module: Any, positional: Any, given: dict[str, Any]) -> None:
        embeds = given.get("inputs_embeds")
        lengths.append(given["input_ids"].shape[1] if embeds is None else embeds.shape[1])

    hook = bench.model.model.language_model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        way()
    finally:
        hook.remove()
    return max(lengths)


@torch.no_grad()
def answered(
    shapes: dict[str, Any], load: Load, device: str, rounds: int, *, compiled: bool = False
) -> dict[str, Any]:
    """Of each way: seconds, its ratio to a plain answer, tokens read, memory beyond the weights.

    The uncompiled model also gives the plain answer by each kind of attention; of the compiled one
    the plain answer and sinks only are asked for.
    """
    cuda = device.startswith("cuda")
    dtype = torch.bfloat16 if cuda else torch.float32
    bench = build(shapes | {"batch": load.batch}, device, dtype, None)
    all_ways = run_ways(bench, load.new_tokens)
    if compiled:
        run = {name: all_ways[name] for name in ("base", "sinks only")}
    else:
        run = {name: all_ways[name] for name in WAYS}
        run |= {f"base, {kind}": under(bench, all_ways["base"], kind) for kind in attentions()}
    read = {name: attempt(lambda way=way: {"tokens_read": tokens_read(bench, way)})
            for name, way in run.items()}  # fmt: skip
    if compiled:  # only now: the hooks above are not for compiled modules
        compile_decoder(bench.model)
    works = {name: way for name, way in run.items() if "error" not in read[name]}
    for way in [*works.values()] * (2 * compiled):  # a length is compiled for, then any length
        way()
    measured = timed(works, rounds, device)
    for name, row in measured.items():
        read[name] |= {
            "seconds": row["seconds"],
            "ratio": statistics.median(row["ratios"]),
            "ratios": row["ratios"],
            "peak_gb": peak(works[name], device) / 1e9 if cuda else None,
        }
    return read


def under(bench: Bench, way: Way, kind: str) -> Callable[[], Any]:
    """A way with one kind of attention."""

    def run() -> Any:
        with attention(bench.model, kind):
            return way()

    return run
