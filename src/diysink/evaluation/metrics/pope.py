"""POPE: does the model say that objects are there that are not?"""

import pandas as pd

from diysink.evaluation.item import Item
from diysink.evaluation.metrics.base import Judgement, Metric
from diysink.evaluation.metrics.sums import (
    Numbers,
    Sums,
    by_image,
    by_label,
    labels_of,
    mean_there,
    share,
)
from diysink.evaluation.metrics.yes_no import truth

SPLITS = ("random", "popular", "adversarial")
_NO = frozenset(("No", "not", "no"))
_CELLS = ("hit", "false alarm", "miss", "rejection")


class Pope(Metric):
    """F1 of yes, in each split (``subtask``); the headline is the mean over the splits.

    An answer is ``no`` if "No", "not" or "no" is a word of its first sentence (up to the first full
    stop, commas taken out, divided at spaces), and ``yes`` otherwise: also where it is empty, a
    refusal, "NO" or "no!". Accuracy, precision, recall and the share of yes among the *answers*
    (``yes ratio``) are over all questions. Precision is NaN where no answer is yes.

    Source: Li et al., "POPE" (arXiv 2305.10355), ``evaluate.py``, and LLaVA's ``eval_pope.py``.
    """

    headline = "f1"

    def judge(self, prediction: str, item: Item) -> Judgement:
        """Whether the first sentence says what is so.

        Raises:
            ValueError: the reference is neither yes nor no.
        """
        words = prediction.strip().split(".")[0].replace(",", "").split(" ")
        answer = "yes" if _NO.isdisjoint(words) else "no"
        return Judgement(float(answer == truth(item)), answer)

    def totals(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The four cells of each split.

        Raises:
            ValueError: a subtask is not one of POPE's splits.
        """
        if unknown := set(rows["subtask"].unique()) - set(SPLITS):
            raise ValueError(
                f"subtasks {sorted(map(str, unknown))}; POPE's splits are {', '.join(SPLITS)}"
            )
        there = rows["reference"].str.strip().str.lower() == "yes"
        right = rows["correct"] == 1
        cells = (there & right, ~there & ~right, there & ~right, ~there & right)
        columns = {name: cell.astype(float) for name, cell in zip(_CELLS, cells, strict=True)}
        return by_image(rows["image"], by_label(rows["subtask"], columns))

    def numbers(self, sums: Sums) -> Numbers:
        """F1 of each split, their mean, and four numbers over all questions."""
        there = set(labels_of(sums, _CELLS[0]))
        splits = [split for split in SPLITS if split in there]
        each = {split: [sums[f"{cell} {split}"] for cell in _CELLS] for split in splits}
        f1 = {
            f"f1 {split}": share(2 * hit, 2 * hit + alarm + miss)
            for split, (hit, alarm, miss, _) in each.items()
        }
        hit, alarm, miss, rejection = (sum(cells) for cells in zip(*each.values(), strict=True))
        asked = hit + alarm + miss + rejection
        return {
            **f1,
            "f1": mean_there(f1.values()),
            "accuracy": share(hit + rejection, asked),
            "precision": share(hit, hit + alarm),
            "recall": share(hit, hit + miss),
            "yes ratio": share(hit + alarm, asked),
        }
