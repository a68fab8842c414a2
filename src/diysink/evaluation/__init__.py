"""What a model answers, whether that is right, and how sure the difference to another is."""

from diysink.evaluation.metrics import exact_match, normalize
from diysink.evaluation.runner import predict, question_batch
from diysink.evaluation.statistics import accuracy_table, comparisons
from diysink.evaluation.verdict import verdict

__all__ = [
    "accuracy_table",
    "comparisons",
    "exact_match",
    "normalize",
    "predict",
    "question_batch",
    "verdict",
]
