"""Percentile bootstrap over images of ratios: sums per image over counts per image.

An accuracy is such a ratio (right answers over questions), the attention per token another. As
images carry different numbers of questions or tokens, both sums are drawn again together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real
from numpy import ndarray

_BUDGET = 2**17  # drawn images in memory at a time: what a core's cache holds, however many images


def draw_images(images: int, resamples: int, seed: int) -> Iterator[Float[ndarray, "chunk images"]]:
    """How often each image is drawn in each resample, in chunks of resamples.

    The draw depends on the three numbers alone: tables over the same images are drawn alike, so
    that their differences are paired.

    Args:
        images: how many images there are; as many are drawn, with replacement.
        resamples: how many times.
        seed: of the draw.

    Raises:
        ValueError: no image or no resample.
    """
    if images < 1 or resamples < 1:
        raise ValueError(
            f"A bootstrap needs at least one image and one resample, not {images} images and "
            f"{resamples} resamples. Give it data, or raise resamples."
        )
    rng = np.random.default_rng(seed)
    size = max(1, _BUDGET // images)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        drawn = rng.integers(0, images, (rows, images)) + images * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * images)
        yield counts.reshape(rows, images).astype(np.float64)


def resampled_ratios(
    sums: Float[ndarray, "images columns"],
    counts: Real[ndarray, "images #columns"],
    *,
    resamples: int,
    seed: int,
) -> Float[ndarray, "resamples columns"]:
    """Sum of ``sums`` over sum of ``counts`` in each resample of the images, column by column.

    All columns are drawn together: their differences are paired. A resample without any count in
    a column gives NaN there; leave out images that have no count in any column.
    """
    parts = []
    with np.errstate(invalid="ignore"):
        for drawn in draw_images(len(sums), resamples, seed):
            parts.append((drawn @ sums) / (drawn @ counts))
    return np.concatenate(parts)


def interval(
    values: Float[ndarray, "resamples columns"], level: float
) -> tuple[Float[ndarray, " columns"], Float[ndarray, " columns"]]:
    """Lower and upper percentile of the resampled values, NaN left out.

    Raises:
        ValueError: the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; an interval's level is between 0 and 1, such as 0.95")
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def never_certain(
    low: Float[ndarray, " columns"],
    high: Float[ndarray, " columns"],
    images: int,
    level: float,
) -> tuple[Float[ndarray, " columns"], Float[ndarray, " columns"]]:
    """Give the interval of a share that is 0 or 1 in every image the width it should have.

    Where all images are alike, every resample is too, and the bootstrap says "certain". The exact
    binomial limit for none (or all) of so many images takes its place.
    """
    reach = limit_of_none(images, level)
    return (
        np.where((low == 1) & (high == 1), 1 - reach, low),
        np.where((low == 0) & (high == 0), reach, high),
    )


def limit_of_none(images: int, level: float) -> float:
    """Upper (Clopper-Pearson) limit of a share of which no image of so many had one.

    >>> round(limit_of_none(500, 0.95), 4)
    0.0074
    """
    return float(1 - ((1 - level) / 2) ** (1 / images))


def ratio_interval(
    sums: Float[ndarray, "images columns"],
    counts: Real[ndarray, "images #columns"],
    *,
    resamples: int,
    level: float,
    seed: int,
) -> tuple[Float[ndarray, " columns"], Float[ndarray, " columns"]]:
    """The bootstrap interval of ``sums.sum(0) / counts.sum(0)`` over images."""
    return interval(resampled_ratios(sums, counts, resamples=resamples, seed=seed), level)


@dataclass(frozen=True)
class Bootstrap:
    """How all intervals of a table are made: one object in place of three numbers.

    Tables over the same images that share it are drawn alike, so their differences are paired.

    Attributes:
        resamples: how many times the images are drawn.
        level: of the intervals, between 0 and 1.
        seed: of the draw.
    """

    resamples: int = 2000
    level: float = 0.95
    seed: int = 0

    def sums(self, values: Float[ndarray, "images columns"]) -> Float[ndarray, "resamples columns"]:
        """The sum of each column over the images of each resample; all columns drawn together."""
        draws = draw_images(len(values), self.resamples, self.seed)
        return np.concatenate([drawn @ values for drawn in draws])

    def ratios(
        self, sums: Float[ndarray, "images columns"], counts: Real[ndarray, "images #columns"]
    ) -> Float[ndarray, "resamples columns"]:
        """As `resampled_ratios`."""
        return resampled_ratios(sums, counts, resamples=self.resamples, seed=self.seed)

    def interval(
        self, drawn: Float[ndarray, "resamples columns"]
    ) -> tuple[Float[ndarray, " columns"], Float[ndarray, " columns"]]:
        """Lower and upper end of resampled values; NaN where a column has no finite value."""
        finite = np.isfinite(drawn).any(0)
        low, high = np.full((2, drawn.shape[1]), np.nan)
        if finite.any():
            low[finite], high[finite] = interval(drawn[:, finite], self.level)
        return low, high

    def ratio_interval(
        self, sums: Float[ndarray, "images columns"], counts: Real[ndarray, "images #columns"]
    ) -> tuple[Float[ndarray, " columns"], Float[ndarray, " columns"]]:
        """The interval of ``sums.sum(0) / counts.sum(0)`` over images."""
        return self.interval(self.ratios(sums, counts))

    def share_interval(
        self, sums: Float[ndarray, "images columns"], counts: Real[ndarray, "images #columns"]
    ) -> tuple[Float[ndarray, " columns"], Float[ndarray, " columns"]]:
        """The interval of shares, never of width zero: see `never_certain`."""
        low, high = self.ratio_interval(sums, counts)
        return never_certain(low, high, images=len(sums), level=self.level)
