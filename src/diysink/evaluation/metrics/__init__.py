"""When an answer is right, and what the answers to a benchmark come to.

A metric is a class in a file of its own and a row of `METRICS`.
"""

from diysink.evaluation.metrics.base import Judgement, Metric
from diysink.evaluation.metrics.text import Contains, Exact, contains, exact_match, normalize

METRICS: dict[str, Metric] = {
    "exact": Exact(),
    "contains": Contains(),
}
"""By the name that benchmarks use."""

__all__ = [
    "METRICS",
    "Contains",
    "Exact",
    "Judgement",
    "Metric",
    "contains",
    "exact_match",
    "normalize",
]
