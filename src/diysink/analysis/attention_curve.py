"""Attention against norm without bins: a smooth curve, and one number per image.

The curve is a kernel mean in log norm (Nadaraya-Watson, Gaussian): at each norm, the attention of
tokens near it. The number is Spearman's rank correlation over the tokens of one image. Both have
the control of norms shuffled over each question's tokens.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import rankdata

from diysink.resampling import interval, resampled_ratios


def attention_curve(
    attention: Float[ndarray, "items tokens"],
    norms: Float[ndarray, "items tokens"],
    images: Sequence[str],
    at: Sequence[float],
    bandwidth: float,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean attention per visual token near each norm, with a pointwise band over images.

    Args:
        attention: share of the answer's attention that each visual token gets.
        norms: of the same tokens.
        images: the image of each item; intervals are over images.
        at: norms to tell the curve at.
        bandwidth: standard deviation of the kernel, in natural logarithms of the norm.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the bootstrap.

    Returns:
        ``norm, value, low, high, n_images``: points that fewer than three tokens are near (a
        kernel's weight each) are left out, as a mean of nothing would be drawn there.

    Raises:
        ValueError: a bandwidth that is not positive.
    """
    if not bandwidth > 0:
        raise ValueError(f"bandwidth is {bandwidth}: give a positive number of natural logarithms")
    codes, names = pd.factorize(np.asarray(images, dtype=object), sort=True)
    sums, counts, logs = [], [], np.log(norms)
    for point in np.log(np.asarray(at, dtype=np.float64)):
        near = np.exp(-0.5 * ((logs - point) / bandwidth) ** 2)
        near[near < 1e-4] = 0.0  # a far token is no evidence, and 0 / 0 is told apart from it
        sums.append(np.bincount(codes, (attention * near).sum(1), len(names)))
        counts.append(np.bincount(codes, near.sum(1), len(names)))
    total, weight = np.column_stack(sums), np.column_stack(counts)
    kept = weight.sum(0) >= 3
    total, weight = total[:, kept], weight[:, kept]
    columns = ["norm", "value", "low", "high", "n_images"]
    if not kept.any():
        return pd.DataFrame(columns=columns)
    low, high = interval(resampled_ratios(total, weight, resamples=resamples, seed=seed), level)
    return pd.DataFrame(
        {
            "norm": np.asarray(at, dtype=np.float64)[kept],
            "value": total.sum(0) / weight.sum(0),
            "low": low,
            "high": high,
            "n_images": (weight > 0).sum(0),
        }
    )


def norm_attention(
    attention: Float[ndarray, "items tokens"],
    norms: Float[ndarray, "items tokens"],
    images: Sequence[str],
    groups: Mapping[str, Bool[ndarray, " items"]],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Spearman's correlation of norm and attention over an image's tokens, averaged over images.

    Questions about one image are averaged first. An item whose attention or norm is the same for
    all tokens has no correlation and is left out.

    Returns:
        ``group, rho, low, high, n_images``.
    """
    rho = _spearman(attention, norms)
    rows = []
    for group, member in groups.items():
        chosen = np.asarray(member) & np.isfinite(rho)
        if not chosen.any():
            continue
        names = np.asarray(images, dtype=object)[chosen]
        per_image = pd.Series(rho[chosen]).groupby(names).mean().to_numpy()[:, None]
        ones = np.ones_like(per_image)
        low, high = interval(
            resampled_ratios(per_image, ones, resamples=resamples, seed=seed), level
        )
        rows.append(
            {
                "group": group,
                "rho": float(per_image.mean()),
                "low": low[0],
                "high": high[0],
                "n_images": len(per_image),
            }
        )
    return pd.DataFrame(rows, columns=["group", "rho", "low", "high", "n_images"])


def _spearman(
    first: Float[ndarray, "items tokens"], second: Float[ndarray, "items tokens"]
) -> Float[ndarray, " items"]:
    """Pearson's correlation of ranks, ties averaged; NaN where one side is constant."""
    a, b = (rankdata(part, axis=1) for part in (first, second))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    spread = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    with np.errstate(invalid="ignore"):
        return np.where(spread > 0, (a * b).sum(1) / spread, np.nan)
