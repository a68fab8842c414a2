"""What the answers to a benchmark come to: every number of its metric, with its interval.

Intervals are a bootstrap over images. All variants of a benchmark are drawn alike, so that their
differences are paired; different benchmarks are drawn independently. Answers of several training
seeds give a number each, of which the mean is taken.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from diysink.evaluation.metrics import Metric
from diysink.resampling import Bootstrap, never_certain

Totals = Mapping[int, pd.DataFrame]
"""What `Metric.totals` gave, by training seed."""


@dataclass(frozen=True)
class Score:
    """One number, and what it would be on other images.

    Attributes:
        benchmark, variant, number: of which it is.
        percent: whether it is a share, which tables show in percent.
        value: over all images.
        drawn: over those of each draw; NaN where fewer than two images have something to count.
        images: how many images have something to count for it; None: over several benchmarks.
    """

    benchmark: str
    variant: str
    number: str
    percent: bool
    value: float
    drawn: Float[ndarray, " draws"]
    images: int | None

    def interval(self, bootstrap: Bootstrap) -> tuple[float, float]:
        """Its lower and upper end; NaN where fewer than two images have something to count."""
        low, high = bootstrap.interval(self.drawn[:, None])
        if self.percent and self.images:
            low, high = never_certain(low, high, self.images, bootstrap.level)
        return float(low[0]), float(high[0])

    def less(self, other: "Score") -> "Score":
        """The difference to another variant's, paired draw by draw; it is no share any more."""
        return replace(
            self, value=self.value - other.value, drawn=self.drawn - other.drawn, images=None
        )


def score_benchmark(
    name: str, totals: Mapping[str, Totals], metric: Metric, bootstrap: Bootstrap
) -> list[Score]:
    """Every number of a benchmark's metric, for every variant.

    Args:
        name: of the benchmark.
        totals: of each variant.
        metric: the benchmark's.
        bootstrap: over images.

    Raises:
        ValueError: the variants did not answer about the same images.
    """
    drawn_alike = replace(bootstrap, seed=bootstrap.seed + zlib.crc32(name.encode()))
    images: pd.Index | None = None
    found = []
    for variant, by_seed in totals.items():
        numbers: dict[str, list[Float[ndarray, " draws"]]] = {}
        counted: dict[str, int] = {}
        for table in by_seed.values():
            ordered = table.sort_index()
            if images is None:
                images = ordered.index
            elif not images.equals(ordered.index):
                raise ValueError(
                    f"{variant} answered about other images of {name} than the variants before "
                    "it: answer the benchmark with all of them again"
                )
            sums = ordered.to_numpy(np.float64)
            draws = np.vstack([sums.sum(0), drawn_alike.sums(sums)])  # all images come first
            for number, values in _numbers(metric, ordered.columns, draws).items():
                numbers.setdefault(number, []).append(values)
            for number, values in _numbers(metric, ordered.columns, sums).items():  # of each image
                counted[number] = max(counted.get(number, 0), int(np.isfinite(values).sum()))
        for number, of_seeds in numbers.items():
            mean = np.mean(of_seeds, 0)
            value, count = float(mean[0]), counted[number]
            # One image, drawn again, is the same image: it says nothing of others.
            drawn = mean[1:] if count > 1 else np.full(len(mean) - 1, np.nan)
            found.append(Score(name, variant, number, metric.percent, value, drawn, count))
    return found


def _numbers(
    metric: Metric, columns: pd.Index, sums: Float[ndarray, "draws columns"]
) -> dict[str, Float[ndarray, " draws"]]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return metric.numbers(dict(zip(columns, sums.T, strict=True)))


def mean_of(scores: Sequence[Score], benchmark: str, number: str) -> Score:
    """The mean of several numbers of one variant, such as an average over benchmarks."""
    first = scores[0]
    return Score(
        benchmark,
        first.variant,
        number,
        all(score.percent for score in scores),
        float(np.mean([score.value for score in scores])),
        np.mean([score.drawn for score in scores], 0),
        None if len(scores) > 1 else first.images,
    )
