"""What a model answers, whether that is right, and how sure the difference to another is.

`diysink.evaluation.runner` and `diysink.evaluation.lvlm`, which ask the models, are imported by
themselves: they need torch, and what judges their table does not.
"""

from diysink.evaluation.metrics import contains, exact_match, normalize
from diysink.evaluation.routes import route_table
from diysink.evaluation.statistics import accuracy_table, comparisons, pairs_to_compare
from diysink.evaluation.verdict import verdict

__all__ = [
    "accuracy_table",
    "comparisons",
    "contains",
    "exact_match",
    "normalize",
    "pairs_to_compare",
    "route_table",
    "verdict",
]
