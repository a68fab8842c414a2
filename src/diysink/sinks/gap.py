"""The gap between two populations of log-norms, or that there is none.

A sink is not a token in a long tail: it belongs to a second population, with few tokens between it
and the rest. So: smooth the histogram over log-norms; between the higher and the lower of two peaks
lies a valley; if it is deep, wide and not an accident of small counts, the threshold is its middle.
One mode has no valley. A heavy tail has none either: it only falls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d

from diysink.sinks.layout import PER_OCTAVE

SMOOTH = 1.5  # bins: a tenth of an octave
FINE = 0.75  # bins: where rivals are looked for, that would run together under more
SIGNIFICANT = 3.0  # standard deviations between a valley and the lower of its two peaks
SURE = 5.0  # the same where rivals are looked for: fine smoothing leaves more to chance
FLOOR = 0.1  # of the way up from the valley's bottom to the lower peak: still the gap


@dataclass(frozen=True)
class Gap:
    """A valley of the histogram of log-norms.

    Attributes:
        edge: index of the edge in the middle of the gap: the threshold.
        low, high: indices of the edges where the gap begins and ends.
        lower, upper: bins of the two peaks.
        depth: 1 where the valley is empty, 0 where there is none.
        width: of an empty valley that would weigh as much, in octaves of norm.
    """

    edge: int
    low: int
    high: int
    lower: int
    upper: int
    depth: float
    width: float


def find_gaps(
    histogram: Float[np.ndarray, " bins"],
    *,
    min_share: float = 0.0005,
    max_share: float = 0.25,
    min_depth: float = 0.5,
    smooth: float = SMOOTH,
    significant: float = SIGNIFICANT,
) -> list[Gap]:
    """All gaps that leave a small second population above them, the widest first.

    Args:
        histogram: tokens in each bin of the grid.
        min_share, max_share: bounds for the share of tokens above the gap.
        min_depth: how far the valley must fall below the lower of its two peaks, as a share of it.
        smooth: standard deviation of the smoothing, in bins.
        significant: how far the valley must fall below its lower peak, in standard deviations of
            the counts.
    """
    total = histogram.sum()
    if total == 0:
        return []
    density = gaussian_filter1d(histogram.astype(np.float64), smooth, mode="constant")
    left = np.maximum.accumulate(density)
    right = np.maximum.accumulate(density[::-1])[::-1]
    peak = np.minimum(left, right)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(peak > 0, 1 - density / peak, 0.0)
    above = histogram[::-1].cumsum()[::-1] / total
    window = 2 * np.sqrt(np.pi) * smooth  # bins over which smoothing averages
    noise = np.sqrt((peak + density) / window)
    deep = (depth >= min_depth) & (peak - density >= significant * noise)
    valleys = _stretches(np.flatnonzero(deep))
    # A valley's two peaks lie between it and its neighbours.
    ends = [0, *(int(valley[-1]) + 1 for valley in valleys)]
    starts = [*(int(valley[0]) for valley in valleys), len(density)]
    gaps = [
        _gap(density, ends[place], valley, starts[place + 1], depth[valley].max())
        for place, valley in enumerate(valleys)
    ]
    kept = [gap for gap in gaps if min_share <= above[gap.edge] <= max_share]
    return sorted(kept, key=lambda gap: (gap.width, gap.edge), reverse=True)


def around(gaps: Sequence[Gap], edge: int | None) -> Gap | None:
    """The gap between whose peaks an edge lies."""
    inside = (gap for gap in gaps if edge is not None and gap.lower < edge <= gap.upper)
    return next(inside, None)


def _gap(
    density: Float[np.ndarray, " bins"],
    first: int,
    valley: Int[np.ndarray, " valley"],
    last: int,
    depth: float,
) -> Gap:
    """The gap of a valley, whose peaks lie between ``first`` and ``last``."""
    lower = first + int(density[first : valley[0] + 1].argmax())
    upper = int(valley[-1]) + int(density[valley[-1] : last].argmax())
    peak = min(density[lower], density[upper])
    between = density[lower : upper + 1]
    bottom = between.min()
    floor = np.flatnonzero(between <= bottom + FLOOR * (peak - bottom))
    widest = max(_stretches(floor), key=len)
    low, high = lower + int(widest[0]), lower + int(widest[-1]) + 1
    return Gap(
        edge=round((low + high) / 2),
        low=low,
        high=high,
        lower=lower,
        upper=upper,
        depth=float(depth),
        width=float((1 - between / peak).clip(min=0).sum() / PER_OCTAVE),
    )


def _stretches(places: Int[np.ndarray, " places"]) -> list[Int[np.ndarray, " stretch"]]:
    """Runs of neighbours in rising numbers."""
    return [run for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if run.size]
