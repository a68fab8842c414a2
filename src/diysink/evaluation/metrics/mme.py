"""MME: two yes-or-no questions about each image, in fourteen subtasks."""

import numpy as np
import pandas as pd

from diysink.evaluation.item import Item
from diysink.evaluation.metrics.base import Judgement, Metric
from diysink.evaluation.metrics.sums import (
    Numbers,
    Sums,
    by_image,
    by_label,
    labels_of,
    share,
    units,
)
from diysink.evaluation.metrics.yes_no import truth

PERCEPTION = (
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")


class Mme(Metric):
    """Points: 100 (accuracy + accuracy+) in each subtask; sums of 2000, 800 and 2800.

    An answer is ``yes`` if "yes" is among its first four characters, else ``no`` if "no" is (so is
    "not", "none", "know"), and otherwise neither, which is wrong; case and spaces around it do not
    count. Accuracy is over questions, accuracy+ over images (``unit``): both questions are right.
    A subtask without questions adds nothing to its sum.

    Source: Fu et al., "MME" (arXiv 2306.13394), ``calculation.py``.
    """

    headline = "total"
    percent = False

    def judge(self, prediction: str, item: Item) -> Judgement:
        """Whether the beginning of the answer says what is so.

        Raises:
            ValueError: the reference is neither yes nor no.
        """
        start = prediction.strip().lower()[:4]
        answer = "yes" if "yes" in start else "no" if "no" in start else None
        return Judgement(float(answer == truth(item)), answer)

    def totals(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Of each subtask: questions right and asked, images with both right, and images.

        Raises:
            ValueError: a subtask is not one of MME's.
        """
        if unknown := set(rows["subtask"].unique()) - {*PERCEPTION, *COGNITION}:
            raise ValueError(
                f"subtasks {sorted(map(str, unknown))}; MME's are "
                f"{', '.join(PERCEPTION + COGNITION)}"
            )
        questions = {"right": rows["correct"], "asked": rows["correct"].notna().astype(float)}
        pairs = units(rows)
        both = pairs["right"].where(pairs["size"] > 1, 0)
        images = {"both": both, "images": both.notna().astype(float)}
        return (
            by_image(rows["image"], by_label(rows["subtask"], questions))
            .join(by_image(pairs["image"], by_label(pairs["subtask"], images)), how="left")
            .fillna(0.0)
        )

    def numbers(self, sums: Sums) -> Numbers:
        """The points of each subtask that was asked, and the sums."""
        there = set(labels_of(sums, "asked"))
        points = {
            subtask: 100
            * (
                share(sums[f"right {subtask}"], sums[f"asked {subtask}"])
                + share(sums[f"both {subtask}"], sums[f"images {subtask}"])
            )
            for subtask in PERCEPTION + COGNITION
            if subtask in there
        }
        nothing = np.zeros_like(next(iter(points.values())))
        parts = {
            name: sum((points[each] for each in subtasks if each in points), nothing)
            for name, subtasks in (("perception", PERCEPTION), ("cognition", COGNITION))
        }
        return {**points, **parts, "total": parts["perception"] + parts["cognition"]}
