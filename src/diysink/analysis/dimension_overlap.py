"""Are the same dimensions massive at two kinds of tokens? Two questions, two tests.

*Do they share more than chance would?* If the dimensions of one kind were any of all, the number
that two sets share would be hypergeometric: what permuting the dimensions' names gives, exactly.
*Are they one kind?* That they are not is the paper's claim of V-sinks and L-sinks. Here the two
kinds' profiles are swapped at random in each image: if there were one kind only, mean profiles
after swapping would be as far apart as the true ones.
"""

from itertools import combinations
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import hypergeom

from diysink.analysis.dimension_profiles import SETS, DimensionProfiles
from diysink.analysis.massive import MassiveRule
from diysink.resampling import Bootstrap, draw_images


def compare_sets(
    profiles: DimensionProfiles, rule: MassiveRule, top: int, bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    """Overlap of the sets of dimensions of every two kinds of tokens.

    L-sinks that were found by the first token's dimensions share these by definition: what their
    overlap with V-sinks says is not by definition.

    Args:
        profiles: of one checkpoint.
        rule: when a dimension is massive.
        top: size of the leading sets.
        bootstrap: of the intervals; its seed and number are those of the random swaps, too.

    Returns:
        Tidy rows ``jaccard`` with ``sets`` (massive, by the mean over images at any layer; leading:
        the ``top`` largest, mean over layers), ``shared, n_a, n_b, n_dims, p`` (as many shared, or
        more, by chance), ``p_differ`` (profiles as far apart, or farther, if the two were one
        kind), ``n_images`` (with both kinds). Intervals and ``p_differ`` are those of leading sets:
        a dimension is massive or not, by a threshold that is far from chance. Two kinds without a
        dimension have no rows.
    """
    sets, width = _sets(profiles, rule, top), profiles.mean.shape[-1]
    rows: list[dict[str, Any]] = []
    for a, b in combinations(sets, 2):
        pair = profiles.mean[:, [SETS.index(a), SETS.index(b)]]
        pair = pair[np.isfinite(pair).all((1, 2))]
        for name in ("massive", "leading"):
            first, second = sets[a][name], sets[b][name]
            if not len(first) and not len(second):
                continue
            shared = len(np.intersect1d(first, second))
            row = {
                "metric": "jaccard",
                "condition": f"{a} & {b}",
                "sets": name,
                "value": jaccard(first, second),
                "shared": shared,
                "n_a": len(first),
                "n_b": len(second),
                "n_dims": width,
                "p": float(hypergeom.sf(shared - 1, width, len(first), len(second))),
                "n_images": len(pair),
            }
            if name == "leading" and len(pair):
                (low,), (high,) = bootstrap.interval(_resampled(pair, top, bootstrap)[:, None])
                row |= {"low": low, "high": high, "p_differ": _one_kind(pair, bootstrap)}
            rows.append(row)
    return rows


def jaccard(first: Int[ndarray, " _"], second: Int[ndarray, " _"]) -> float:
    """Shared over all dimensions of two sets.

    >>> jaccard(np.array([1, 2, 3]), np.array([3, 4]))
    0.25
    """
    return len(np.intersect1d(first, second)) / len(np.union1d(first, second))


def _sets(
    profiles: DimensionProfiles, rule: MassiveRule, top: int
) -> dict[str, dict[str, Int[ndarray, " _"]]]:
    """Per kind of token its dimensions: those massive at any layer, and the ``top`` largest."""
    sets: dict[str, dict[str, Int[ndarray, " _"]]] = {}
    for kind in ("vsink", "lsink", "first"):
        i = SETS.index(kind)
        layers = [layer for layer, n in enumerate(profiles.images[:, i]) if n]
        if not layers:
            continue
        means = np.stack([profiles.moments(layer, kind)[0] for layer in layers])
        massive = np.flatnonzero(rule.massive(torch.from_numpy(means)).any(0).numpy())
        mean = np.nanmean(profiles.mean[:, i], 0)
        leading = np.sort(np.argsort(-mean, kind="stable")[:top])
        sets[kind] = {"massive": massive, "leading": leading}
    return sets


def _resampled(
    pair: Float[ndarray, "images 2 dim"], top: int, bootstrap: Bootstrap
) -> Float[ndarray, " resamples"]:
    """The overlap of leading sets in each resample of the images."""
    draws = draw_images(len(pair), bootstrap.resamples, bootstrap.seed)
    drawn = np.concatenate(list(draws))
    leading = [np.argsort(-(drawn @ side), axis=1)[:, :top] for side in (pair[:, 0], pair[:, 1])]
    return np.array([jaccard(a, b) for a, b in zip(*leading, strict=True)])


def _one_kind(pair: Float[ndarray, "images 2 dim"], bootstrap: Bootstrap) -> float:
    """Share of random swaps after which mean profiles are as far apart (Euclid) as the true."""
    half = (pair[:, 0] - pair[:, 1]) / 2
    rng = np.random.default_rng(bootstrap.seed)
    apart = np.linalg.norm(rng.choice([-1.0, 1.0], (bootstrap.resamples, len(half))) @ half, axis=1)
    far = (apart >= np.linalg.norm(half.sum(0)) * (1 - 1e-12)).sum()
    return float(far + 1) / (bootstrap.resamples + 1)
