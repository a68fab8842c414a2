"""What a model answers, whether that is right, and how sure the difference to another is.

`diysink.evaluation.runner`, which asks the models, is imported by itself: it needs torch, and what
judges its table does not.
"""

from diysink.evaluation.metrics import exact_match, normalize
from diysink.evaluation.routes import route_table
from diysink.evaluation.statistics import accuracy_table, comparisons
from diysink.evaluation.verdict import verdict

__all__ = [
    "accuracy_table",
    "comparisons",
    "exact_match",
    "normalize",
    "route_table",
    "verdict",
]
