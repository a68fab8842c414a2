"""The gap between two populations of log-norms, or that there is none.

A sink is not a token in a long tail: it belongs to a second population, with few tokens between it
and the rest. So: smooth the histogram over log-norms; between the higher and the lower of two peaks
lies a valley; if it is deep, wide and not an accident of small counts, the threshold is its middle.
One mode has no valley. A heavy tail has none either: it only falls.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from diysink.sinks.layout import PER_OCTAVE

SMOOTH = 1.5  # bins: a tenth of an octave
WINDOW = 2 * np.sqrt(np.pi) * SMOOTH  # bins over which smoothing averages, for the counts' noise
SIGNIFICANT = 3.0  # standard deviations between a valley and the lower of its two peaks
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


def find_gap(
    histogram: Float[np.ndarray, " bins"],
    *,
    min_share: float = 0.0005,
    max_share: float = 0.25,
    min_depth: float = 0.5,
) -> Gap | None:
    """The widest gap that leaves a small second population above it.

    Args:
        histogram: tokens in each bin of the grid.
        min_share, max_share: bounds for the share of tokens above the gap.
        min_depth: how far the valley must fall below the lower of its two peaks, as a share of it.

    Returns:
        The gap, or None.
    """
    total = histogram.sum()
    if total == 0:
        return None
    density = gaussian_filter1d(histogram.astype(np.float64), SMOOTH, mode="constant")
    left = np.maximum.accumulate(density)
    right = np.maximum.accumulate(density[::-1])[::-1]
    peak = np.minimum(left, right)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(peak > 0, 1 - density / peak, 0.0)
    above = histogram[::-1].cumsum()[::-1] / total
    noise = np.sqrt((peak + density) / WINDOW)
    valleys = np.flatnonzero(
        (above >= min_share)
        & (above <= max_share)
        & (depth >= min_depth)
        & (peak - density >= SIGNIFICANT * noise)
    )
    gaps = {_gap(density, int(valley)) for valley in valleys}
    return max(gaps, key=lambda gap: (gap.width, gap.edge), default=None)


def _gap(density: Float[np.ndarray, " bins"], valley: int) -> Gap:
    lower = int(density[: valley + 1].argmax())
    upper = valley + int(density[valley:].argmax())
    peak = min(density[lower], density[upper])
    between = density[lower : upper + 1]
    bottom = between.min()
    # The widest stretch along the floor: where two valleys lie between the peaks, the larger one.
    floor = np.flatnonzero(between <= bottom + FLOOR * (peak - bottom))
    stretches = np.split(floor, np.flatnonzero(np.diff(floor) > 1) + 1)
    widest = max(stretches, key=len)
    low, high = lower + int(widest[0]), lower + int(widest[-1]) + 1
    return Gap(
        edge=round((low + high) / 2),
        low=low,
        high=high,
        lower=lower,
        upper=upper,
        depth=float(1 - bottom / peak),
        width=float((1 - between / peak).clip(min=0).sum() / PER_OCTAVE),
    )
