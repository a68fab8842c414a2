"""Costs of ways of answering, from results of a benchmark, as a table for claims.

Seconds belong to a machine; ratios to a plain answer travel better. They come from
``benchmarks/answer.py``, which times every way once a round. A way's number is the median of its
ratios, and the rounds are what was sampled: the interval is a bootstrap over them.
Nothing of it is measured in the run.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from diysink.claims.estimate import NAN
from diysink.resampling import Bootstrap


def cost_table(results: Mapping[str, Mapping[str, Any]], bootstrap: Bootstrap) -> pd.DataFrame:
    """The benchmark's results as one table; files that are not of this benchmark are left out.

    Args:
        results: contents of the result files, by name.
        bootstrap: of the intervals over rounds.

    Returns:
        ``metric`` (latency, memory, flops), ``condition`` (the way), ``value`` (ratio to a plain
        answer; of latency, the median over rounds) with its interval over rounds ``low, high`` (NaN
        where nothing was repeated), ``n_rounds``, ``amount, unit``; ``source`` (the file),
        ``machine``, ``date`` and ``width`` (of the language model).
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
            own, ratios = {**shared, "condition": way}, cost["ratios"]
            low, high = median_interval(ratios, bootstrap)
            rows.append({**own, "metric": "latency", "value": float(np.median(ratios)), "low": low,
                         "high": high, "n_rounds": len(ratios), "amount": cost["seconds"],
                         "unit": "s"})  # fmt: skip
            if "peak_ratio" in cost:
                rows.append({**own, "metric": "memory", **_alone(cost["peak_ratio"]),
                             "amount": cost["peak_mb"], "unit": "MB"})  # fmt: skip
        for way, cost in (result.get("prefill_flops") or {}).items():
            rows.append({**shared, "condition": way, "metric": "flops", **_alone(cost["ratio"]),
                         "amount": cost["tflop"], "unit": "TFLOP"})  # fmt: skip
    return pd.DataFrame(rows)


def median_interval(values: Sequence[float], bootstrap: Bootstrap) -> tuple[float, float]:
    """The percentile bootstrap interval of the median; NaN of fewer than two values."""
    if len(values) < 2:
        return NAN, NAN
    rng = np.random.default_rng(bootstrap.seed)
    drawn = rng.choice(np.asarray(values), (bootstrap.resamples, len(values)))
    (low,), (high,) = bootstrap.interval(np.median(drawn, axis=1)[:, None])
    return float(low), float(high)


def _alone(value: float) -> dict[str, float]:
    """A number that was measured once."""
    return {"value": value, "low": NAN, "high": NAN, "n_rounds": 1}
