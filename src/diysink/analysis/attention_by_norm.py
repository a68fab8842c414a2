"""Do tokens of high norm get more attention? The attention by norm of arXiv 2510.08510.

Attention per token in bins of norm, and of sinks against nonsinks. The control is the same table
with each question's norms shuffled over its tokens: what is left there is what bins and images do
by themselves.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from diysink.resampling import interval, resampled_ratios


def norm_edges(norms: Float[ndarray, "items tokens"], bins: int, tau: float | None) -> list[float]:
    """Edges of about ``bins`` bins, even in log norm, with an edge at tau.

    Raises:
        ValueError: fewer than two bins, or norms that are not positive and finite.
    """
    if bins < 2:
        raise ValueError(f"bins is {bins}: give at least 2")
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise ValueError("norms must be positive and finite: look at what the encoder was given")
    low, high = float(norms.min()), float(np.nextafter(norms.max(), np.inf))
    if tau is None or not low < tau < high:
        return [float(edge) for edge in np.geomspace(low, high, bins + 1)]
    below = round(bins * np.log(tau / low) / np.log(high / low))
    below = min(max(below, 1), bins - 1)
    left = np.geomspace(low, tau, below + 1)[:-1]
    return [float(edge) for edge in (*left, *np.geomspace(tau, high, bins - below + 1))]


def attention_by_norm(
    attention: Float[ndarray, "items tokens"],
    norms: Float[ndarray, "items tokens"],
    images: Sequence[str],
    edges: Sequence[float],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean attention per visual token in bins of norm; bins without tokens are left out.

    Args:
        attention: share of the answer's attention that each visual token gets.
        norms: of the same tokens.
        images: the image of each item; intervals are over images.
        edges: of the bins, rising; the last bin has no upper limit.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the bootstrap.

    Returns:
        ``norm_low, norm_high, attention, low, high, n_tokens, n_images``.
    """
    bins = np.clip(np.searchsorted(edges, norms, side="right") - 1, 0, len(edges) - 2)
    rows = []
    for i in np.unique(bins):
        sums, counts = _per_image(attention, bins == i, images)
        low, high = interval(resampled_ratios(sums, counts, resamples=resamples, seed=seed), level)
        rows.append(
            {
                "norm_low": edges[i],
                "norm_high": edges[i + 1],
                "attention": sums.sum() / counts.sum(),
                "low": low[0],
                "high": high[0],
                "n_tokens": int(counts.sum()),
                "n_images": len(sums),
            }
        )
    return pd.DataFrame(rows)


def attention_by_kind(
    attention: Float[ndarray, "items tokens"],
    sinks: Bool[ndarray, "items tokens"],
    images: Sequence[str],
    groups: Mapping[str, Bool[ndarray, " items"]],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean attention per sink, per nonsink, and the ratio of the two.

    Args:
        attention: share of the answer's attention that each visual token gets.
        sinks: which of the tokens are sinks.
        images: the image of each item; intervals are over images.
        groups: names of groups of items, and which items belong to each.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the bootstrap.

    Returns:
        ``group, kind`` (sink, nonsink, ratio), ``value, low, high, n_tokens, n_images``; a group
        without a sink, or without any other token, has no rows.
    """
    rows = []
    for group, member in groups.items():
        inside = [image for image, chosen in zip(images, member, strict=True) if chosen]
        parts = [
            _per_image(attention[member], s[member], inside, all_images=True)
            for s in (sinks, ~sinks)
        ]
        sums, counts = (np.hstack(part) for part in zip(*parts, strict=True))
        if not len(sums) or not counts.sum(0).all():
            continue
        drawn = resampled_ratios(sums, counts, resamples=resamples, seed=seed)
        value = sums.sum(0) / counts.sum(0)
        low, high = interval(np.column_stack([drawn, drawn[:, 0] / drawn[:, 1]]), level)
        values = (*value, value[0] / value[1])
        tokens = (*counts.sum(0), counts.sum())
        for i, kind in enumerate(("sink", "nonsink", "ratio")):
            rows.append(
                {
                    "group": group,
                    "kind": kind,
                    "value": values[i],
                    "low": low[i],
                    "high": high[i],
                    "n_tokens": int(tokens[i]),
                    "n_images": len(sums),
                }
            )
    columns = ["group", "kind", "value", "low", "high", "n_tokens", "n_images"]
    return pd.DataFrame(rows, columns=columns)


def shuffled_order(shape: tuple[int, int], seed: int) -> Int[ndarray, "items tokens"]:
    """For each item a random order of its tokens: the control's norms are the true ones in it."""
    return np.random.default_rng(seed).permuted(np.tile(np.arange(shape[1]), (shape[0], 1)), axis=1)


def _per_image(
    attention: Float[ndarray, "items tokens"],
    chosen: Bool[ndarray, "items tokens"],
    images: Sequence[str],
    *,
    all_images: bool = False,
) -> tuple[Float[ndarray, "images 1"], Float[ndarray, "images 1"]]:
    """Sum of attention over the chosen tokens and their number, per image that has any."""
    codes = pd.factorize(np.asarray(images, dtype=object), sort=True)[0]
    counts = np.bincount(codes, chosen.sum(1))[:, None]
    sums = np.bincount(codes, (attention * chosen).sum(1))[:, None]
    there = np.ones(len(counts), dtype=np.bool_) if all_images else counts[:, 0] > 0
    return sums[there], counts[there]
