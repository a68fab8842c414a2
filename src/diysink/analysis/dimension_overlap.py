"""Do two kinds of tokens light up the same dimensions? Two questions, two tests.

*Do they share more than chance would?* If the dimensions of one kind were any of all, the number
that two sets share would be hypergeometric: what permuting the dimensions' names gives, exactly.
*Are they one kind?* That they are not is the paper's claim of V-sinks and L-sinks. Here the two
kinds' profiles are swapped at random in each image: if there were one kind only, mean profiles
after swapping would be as far apart as the true ones.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import hypergeom

from diysink.analysis.dimensions import SETS, DimensionProfiles, dimension_sets
from diysink.analysis.massive import MassiveRule
from diysink.resampling import draw_images, interval


def dimension_overlap(
    checkpoints: Mapping[str, DimensionProfiles],
    rule: MassiveRule,
    *,
    top: int = 8,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Overlap of the sets of dimensions of every two kinds of tokens, at each checkpoint.

    L-sinks that were found by the first token's dimensions share these by definition: what their
    overlap with V-sinks says is not by definition.

    Args:
        checkpoints: profiles by the checkpoint's name.
        rule: when a dimension is massive.
        top: size of the sets of loudest dimensions.
        resamples: bootstrap resamples of the images, and random swaps.
        level: of the intervals.
        seed: of both.

    Returns:
        ``checkpoint, a, b`` (kinds), ``sets`` (massive, by the mean over images at any layer;
        leading: the ``top`` loudest, mean over layers), ``jaccard, low, high, shared, n_a, n_b,
        n_dims, p`` (as many shared, or more, by chance), ``p_differ`` (profiles as far apart, or
        farther, if the two were one kind), ``n_images`` (with both kinds). Intervals and
        ``p_differ`` are those of leading sets: a dimension is massive or not, by a threshold that
        is far from chance. Two kinds without a dimension have no rows.
    """
    columns = ["checkpoint", "a", "b", "sets", "jaccard", "low", "high", "shared", "n_a", "n_b",
               "n_dims", "p", "p_differ", "n_images"]  # fmt: skip
    rows: list[dict[str, Any]] = []
    for checkpoint, profiles in checkpoints.items():
        sets, width = dimension_sets(profiles, rule, top), profiles.mean.shape[-1]
        for a, b in combinations(sets, 2):
            pair = profiles.mean[:, [SETS.index(a), SETS.index(b)]]
            pair = pair[np.isfinite(pair).all((1, 2))]
            for name in ("massive", "leading"):
                first, second = sets[a][name], sets[b][name]
                if not len(first) and not len(second):
                    continue
                shared = len(np.intersect1d(first, second))
                low = high = differ = np.nan
                if name == "leading" and len(pair):
                    drawn = _resampled(pair, top, resamples, seed)
                    low, high = (float(end[0]) for end in interval(drawn[:, None], level))
                    differ = _one_kind(pair, resamples, seed)
                rows.append(
                    {
                        "checkpoint": checkpoint,
                        "a": a,
                        "b": b,
                        "sets": name,
                        "jaccard": jaccard(first, second),
                        "low": low,
                        "high": high,
                        "shared": shared,
                        "n_a": len(first),
                        "n_b": len(second),
                        "n_dims": width,
                        "p": float(hypergeom.sf(shared - 1, width, len(first), len(second))),
                        "p_differ": differ,
                        "n_images": len(pair),
                    }
                )
    return pd.DataFrame(rows, columns=columns)


def jaccard(first: Int[ndarray, " _"], second: Int[ndarray, " _"]) -> float:
    """Shared over all dimensions of two sets.

    >>> jaccard(np.array([1, 2, 3]), np.array([3, 4]))
    0.25
    """
    return len(np.intersect1d(first, second)) / len(np.union1d(first, second))


def _resampled(
    pair: Float[ndarray, "images 2 dim"], top: int, resamples: int, seed: int
) -> Float[ndarray, " resamples"]:
    """The overlap of leading sets in each resample of the images."""
    drawn = np.concatenate(list(draw_images(len(pair), resamples, seed)))
    loudest = [np.argsort(-(drawn @ side), axis=1)[:, :top] for side in (pair[:, 0], pair[:, 1])]
    return np.array([jaccard(a, b) for a, b in zip(*loudest, strict=True)])


def _one_kind(pair: Float[ndarray, "images 2 dim"], permutations: int, seed: int) -> float:
    """Share of random swaps after which mean profiles are as far apart (Euclid) as the true."""
    half = (pair[:, 0] - pair[:, 1]) / 2
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (permutations, len(half)))
    apart = np.linalg.norm(signs @ half, axis=1)
    far = (apart >= np.linalg.norm(half.sum(0)) * (1 - 1e-12)).sum()
    return float(far + 1) / (permutations + 1)
