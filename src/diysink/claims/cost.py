"""Claim 12: what choosing costs, as ratios to a plain answer.

The paper: a plain answer takes about 0.09 s, CoT about 0.25 s, ReW 0.01 s more. Seconds belong to a
machine; ratios travel better. They come from a benchmark that times every way in turn, round after
round, so their quartiles are over rounds: no images are sampled here.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from diysink.claims.evidence import Evidence
from diysink.claims.parts import Estimate, Part, lacking

CHEAP = 1.25
"""ReW is cheap if it takes at most a quarter more than a plain answer; the paper: a ninth more."""
PLAIN, FRONT, REWEIGHT, SINKS = "base", "front", "reweight", "sinks only"
COT = "cot, whole prompts: both"
COLUMNS = ["source", "device", "width", "way", "measure", "ratio", "low", "high", "amount", "unit"]


def cost_table(results: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The benchmark's results as one table; files that are not of this benchmark are left out.

    Args:
        results: contents of the result files, by name.

    Returns:
        ``source, device, width`` (of the language model), ``way, measure`` (latency, memory,
        flops), ``ratio`` to a plain answer with its quartiles over rounds ``low, high`` (none
        where nothing was repeated), ``amount, unit``.
    """
    rows = []
    for source, result in sorted(results.items()):
        text = (result.get("shapes") or {}).get("text")
        if not isinstance(text, Mapping):
            continue
        shared = [source, str(result.get("device", "")), int(text["hidden_size"])]
        for way, cost in (result.get("latency") or {}).items():
            quartiles = [cost["ratio"], cost["q25"], cost["q75"]]
            rows.append([*shared, way, "latency", *quartiles, cost["seconds"], "s"])
            if "peak_ratio" in cost:
                alone = [cost["peak_ratio"], float("nan"), float("nan")]
                rows.append([*shared, way, "memory", *alone, cost["peak_mb"], "MB"])
        for way, cost in (result.get("prefill_flops") or {}).items():
            alone = [cost["ratio"], float("nan"), float("nan")]
            rows.append([*shared, way, "flops", *alone, cost["tflop"], "TFLOP"])
    return pd.DataFrame(rows, columns=COLUMNS)


def latencies(found: Evidence, measure: str = "latency") -> dict[str, Mapping[Any, Any]]:
    """Rows of the largest model that was measured, by way."""
    rows = found.rows("costs", measure=measure)
    largest = max((row["width"] for row in rows), default=0)
    chosen = [row for row in rows if row["width"] == largest]
    return {row["way"]: row for row in chosen if row["source"] == chosen[0]["source"]}


def cost(found: Evidence) -> list[Part]:
    """ReW costs little, CoT more than ReW; moving tokens alone costs next to nothing."""
    ways = latencies(found)
    if not {FRONT, REWEIGHT, COT} <= set(ways):
        return [lacking("seconds of each way of answering: run benchmarks/answer.py --out ...")]
    reweight, cot, moved = (
        Estimate.of({**ways[name], "n_images": 0}, "ratio") for name in (REWEIGHT, COT, FRONT)
    )
    row = ways[REWEIGHT]
    of = f"seconds over a plain answer's (benchmark {row['source']}, width {row['width']})"
    return [
        Part(f"ReW, {of}", f"quartiles at most {CHEAP:g}", reweight.high <= CHEAP, reweight,
             "ratio"),
        Part(f"CoT, whole prompts, {of}", "quartiles above ReW's", cot.low > reweight.high, cot,
             "ratio"),
        Part(f"sinks to the front, {of}", f"control: quartiles at most {CHEAP:g}",
             moved.high <= CHEAP, moved, "ratio", control=True),
    ]  # fmt: skip
