"""What a model answers, whether that is right, and how sure the difference to another is.

`diysink.evaluation.predict`, `finetuned` and `lvlm`, which run the models, are imported by
themselves: they need torch, and what judges their table does not.
"""

from diysink.evaluation.dose import dose_response, in_order
from diysink.evaluation.item import Item
from diysink.evaluation.metrics import METRICS, contains, exact_match, normalize
from diysink.evaluation.routes import route_table
from diysink.evaluation.statistics import accuracy_table, comparisons, pairs_to_compare
from diysink.evaluation.summary import accuracies, measured, primary, summarize
from diysink.evaluation.verdict import verdict

__all__ = [
    "METRICS",
    "Item",
    "accuracies",
    "accuracy_table",
    "comparisons",
    "contains",
    "dose_response",
    "exact_match",
    "in_order",
    "measured",
    "normalize",
    "pairs_to_compare",
    "primary",
    "route_table",
    "summarize",
    "verdict",
]
