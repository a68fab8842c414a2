"""GQA: equality with one short answer, under two conventions."""

import string

import pandas as pd

from diysink.evaluation.item import Item
from diysink.evaluation.metrics.base import Judgement, Metric
from diysink.evaluation.metrics.sums import Numbers, Sums, by_image, share

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _relaxed(answer: str) -> str:
    """Lower case without ASCII punctuation."""
    return answer.lower().translate(_NO_PUNCTUATION)


class Gqa(Metric):
    """Equality with the reference.

    ``accuracy``: LLaVA's convention. Of the answer, spaces around it and full stops at its end go
    and it becomes lower case; then it has to equal the reference (which GQA writes in lower case).
    ``accuracy (lmms-eval)``: case and punctuation of both are ignored.

    Source: LLaVA's ``convert_gqa_for_eval.py`` and GQA's ``eval.py``; ``exact_match`` of lmms-eval.
    """

    def judge(self, prediction: str, item: Item) -> Judgement:
        """Whether the answer equals a reference."""
        answer = prediction.strip().rstrip(".").lower()
        return Judgement(float(answer in item.references), answer)

    def totals(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Right under each convention, and asked."""
        relaxed = rows["prediction"].map(_relaxed) == rows["reference"].map(_relaxed)
        columns = {
            "right": rows["correct"],
            "relaxed": relaxed,
            "asked": rows["correct"].notna(),
        }
        return by_image(rows["image"], columns)

    def numbers(self, sums: Sums) -> Numbers:
        """Both accuracies."""
        return {
            "accuracy": share(sums["right"], sums["asked"]),
            "accuracy (lmms-eval)": share(sums["relaxed"], sums["asked"]),
        }
