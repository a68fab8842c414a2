"""What a metric is: a judgement of each answer, and the numbers that they add up to."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from diysink.evaluation.item import Item


class Judgement(NamedTuple):
    """What a metric makes of one answer.

    Attributes:
        score: from 0, wrong, to 1, right.
        parsed: what was understood, such as a letter or a normalised text; None: nothing was.
        guessed: whether nothing was understood and the metric's own rule drew an answer.
    """

    score: float
    parsed: str | None
    guessed: bool = False


class Metric(ABC):
    """When an answer is right, and what the answers to a benchmark come to.

    Numbers are functions of sums over images, so that a bootstrap over images needs the sums alone.

    Attributes:
        headline: the one of its numbers that stands for it.
        percent: whether its numbers are shares, which tables show in percent; else they are points.
    """

    headline = "accuracy"
    percent = True

    @abstractmethod
    def judge(self, prediction: str, item: Item) -> Judgement:
        """What one answer is worth; it depends on the answer and the item alone."""

    def totals(self, rows: pd.DataFrame) -> pd.DataFrame:
        """What is added up, by image: here the scores, and how many there are.

        Args:
            rows: of one variant and seed: ``image``, ``unit``, ``subtask``, ``source``,
                ``reference``, ``prediction``, ``parsed``, ``guessed`` and ``correct`` (the score).

        Returns:
            One row for each image (the index), columns of numbers.
        """
        scores = rows.groupby("image")["correct"]
        return pd.DataFrame({"right": scores.sum(), "asked": scores.count()}).astype(float)

    def numbers(
        self, sums: Mapping[str, Float[ndarray, "*draws"]]
    ) -> dict[str, Float[ndarray, "*draws"]]:
        """The metric's numbers, by name; NaN where there is nothing to count.

        Args:
            sums: of each column of `totals`, over all images, or over those of each draw.
        """
        return {self.headline: sums["right"] / sums["asked"]}
