"""Multiple choice in every order of the options (MMBench's CircularEval, HR-Bench)."""

import pandas as pd

from diysink.evaluation.metrics.letter import Letter, LetterBySubtask
from diysink.evaluation.metrics.sums import Numbers, Sums, by_image, share, units


class HrBench(LetterBySubtask):
    """HR-Bench: each question is asked with its options in every order.

    ``accuracy`` is the mean over orders and questions, as published; ``circular`` counts a question
    (``unit``) only if it is right in every order.

    Source: Wang et al., "HR-Bench" (arXiv 2408.15556).
    """

    def totals(self, rows: pd.DataFrame) -> pd.DataFrame:
        """As by subtask, and questions that are right in every order."""
        return super().totals(rows).join(circular_totals(rows), how="left").fillna(0.0)

    def numbers(self, sums: Sums) -> Numbers:
        """Accuracy of all and of each subtask, and of whole questions."""
        return super().numbers(sums) | {"circular": share(sums["whole"], sums["questions"])}


class MmBenchCircular(Letter):
    """MMBench with CircularEval: a question (``unit``) is right if it is in every order of options.

    ``accuracy (single)`` counts each order for itself.

    Source: Liu et al., "MMBench" (arXiv 2307.06281), with `stated_option` in place of ChatGPT.
    """

    def totals(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Orders right and asked, questions right in every order, and questions."""
        return super().totals(rows).join(circular_totals(rows), how="left").fillna(0.0)

    def numbers(self, sums: Sums) -> Numbers:
        """Accuracy over questions, and over orders."""
        return {
            "accuracy": share(sums["whole"], sums["questions"]),
            "accuracy (single)": share(sums["right"], sums["asked"]),
        }


def circular_totals(rows: pd.DataFrame) -> pd.DataFrame:
    """Questions that are right in every order, and questions, by image."""
    asked = units(rows)
    columns = {"whole": asked["right"], "questions": asked["right"].notna()}
    return by_image(asked["image"], columns)
