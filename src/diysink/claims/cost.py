"""Costs of ways of answering, from results of a benchmark, as a table for claims.

Seconds belong to a machine; ratios to a plain answer travel better. They come from
``benchmarks/answer.py``, which times every way in turn, round after round, so their quartiles are
over rounds: no images are sampled here, and nothing of it is measured in the run.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from diysink.claims.estimate import NAN


def cost_table(results: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The benchmark's results as one table; files that are not of this benchmark are left out.

    Args:
        results: contents of the result files, by name.

    Returns:
        ``metric`` (latency, memory, flops), ``condition`` (the way), ``value`` (ratio to a plain
        answer) with its quartiles over rounds ``low, high`` (NaN where nothing was repeated),
        ``amount, unit``; ``source`` (the file), ``machine``, ``date`` and ``width`` (of the
        language model).
    """
    rows: list[dict[str, Any]] = []
    for source, result in sorted(results.items()):
        text = (result.get("shapes") or {}).get("text")
        if not isinstance(text, Mapping):
            continue
        threads = result.get("threads")
        shared = {
            "source": source,
            "machine": f"{result.get('device', '')}{f', {threads} thread' if threads else ''}",
            "date": str(result.get("date", "")),
            "width": int(text["hidden_size"]),
        }
        for way, cost in (result.get("latency") or {}).items():
            own = {**shared, "condition": way}
            ends = {"value": cost["ratio"], "low": cost["q25"], "high": cost["q75"]}
            rows.append(
                {**own, "metric": "latency", **ends, "amount": cost["seconds"], "unit": "s"}
            )
            if "peak_ratio" in cost:
                alone = {"value": cost["peak_ratio"], "low": NAN, "high": NAN}
                rows.append({**own, "metric": "memory", **alone, "amount": cost["peak_mb"],
                             "unit": "MB"})  # fmt: skip
        for way, cost in (result.get("prefill_flops") or {}).items():
            alone = {"value": cost["ratio"], "low": NAN, "high": NAN}
            rows.append({**shared, "condition": way, "metric": "flops", **alone,
                         "amount": cost["tflop"], "unit": "TFLOP"})  # fmt: skip
    return pd.DataFrame(rows)
