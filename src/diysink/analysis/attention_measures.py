"""Measures of attention per visual token against its norm, with intervals over images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.stats import rankdata

from diysink.resampling import Bootstrap

Values = Float[ndarray, "items tokens"]
RATIO = "sink / nonsink"


@dataclass(frozen=True)
class Measures:
    """Measures of attention per token, with intervals over images.

    Attributes:
        attention: share of the answer's attention that each visual token gets.
        images: number of each item's image, from 0.
        bootstrap: over images.
    """

    attention: Values
    images: Int[ndarray, " items"]
    bootstrap: Bootstrap

    def _per_image(
        self, weights: Values, member: Bool[ndarray, " items"] | None = None
    ) -> tuple[Float[ndarray, " images"], Float[ndarray, " images"]]:
        """Weighted sum of attention, and sum of the weights, of each image."""
        chosen = np.ones(len(self.images), dtype=np.bool_) if member is None else member
        images, attention, weights = self.images[chosen], self.attention[chosen], weights[chosen]
        number = int(self.images.max()) + 1
        return (
            np.bincount(images, (attention * weights).sum(1), number),
            np.bincount(images, weights.sum(1), number),
        )

    def by_norm(self, norms: Values, edges: Sequence[float]) -> Iterator[dict[str, Any]]:
        """Mean attention per token in bins of norm; bins without tokens are left out."""
        bins = np.clip(np.searchsorted(edges, norms, side="right") - 1, 0, len(edges) - 2)
        for i in np.unique(bins):
            sums, counts = self._per_image((bins == i).astype(np.float64))
            there = counts > 0
            sums, counts = sums[there, None], counts[there, None]
            low, high = self.bootstrap.ratio_interval(sums, counts)
            yield {
                "metric": "attention by norm", "norm_low": edges[i], "norm_high": edges[i + 1],
                "value": sums.sum() / counts.sum(), "low": low[0], "high": high[0],
                "n": counts.sum(), "n_images": len(sums),
            }  # fmt: skip

    def by_kind(
        self, sinks: Bool[ndarray, "items tokens"], member: Bool[ndarray, " items"], group: str
    ) -> Iterator[dict[str, Any]]:
        """Attention per sink, per nonsink, and their ratio; none where a kind has no token."""
        parts = [self._per_image(s.astype(np.float64), member) for s in (sinks, ~sinks)]
        sums, counts = (np.column_stack(part) for part in zip(*parts, strict=True))
        sums, counts = (part[counts.any(1)] for part in (sums, counts))
        if not len(sums) or not counts.sum(0).all():
            return
        drawn = self.bootstrap.ratios(sums, counts)
        low, high = self.bootstrap.interval(np.column_stack([drawn, drawn[:, 0] / drawn[:, 1]]))
        value = sums.sum(0) / counts.sum(0)
        values = (*value, value[0] / value[1])
        tokens = (*counts.sum(0), counts.sum())
        for i, condition in enumerate(("sink", "nonsink", RATIO)):
            yield {
                "metric": "attention ratio" if condition == RATIO else "attention",
                "condition": condition, "group": group, "value": values[i], "low": low[i],
                "high": high[i], "n": tokens[i], "n_images": len(sums),
            }  # fmt: skip

    def at_tau(
        self, sinks: Bool[ndarray, "items tokens"], multiple: float
    ) -> Iterator[dict[str, Any]]:
        """Sinks per image at a multiple of tau, and the ratio of attention."""
        counts = np.bincount(self.images).astype(np.float64)[:, None]
        sums = np.bincount(self.images, sinks.sum(1))[:, None].astype(np.float64)
        low, high = self.bootstrap.ratio_interval(sums, counts)
        yield {
            "metric": "sinks per image", "condition": "sink", "tau": multiple,
            "value": sums.sum() / counts.sum(), "low": low[0], "high": high[0],
            "n": sinks.size, "n_images": len(sums), "tokens": sinks.shape[1],
        }  # fmt: skip
        if multiple != 1:  # the model's own tau is among the groups
            everyone = np.ones(len(self.images), dtype=np.bool_)
            for row in self.by_kind(sinks, everyone, "all"):
                yield {**row, "tau": multiple}

    def curve(self, norms: Values, points: int, bandwidth: float) -> Iterator[dict[str, Any]]:
        """Mean attention near each norm: Nadaraya-Watson, Gaussian in log norm.

        Points that fewer than three tokens are near (a kernel's weight each) are left out.
        """
        at, logs = np.geomspace(norms.min(), norms.max(), points), np.log(norms)
        columns = []
        for point in np.log(at):
            near = np.exp(-0.5 * ((logs - point) / bandwidth) ** 2)
            near[near < 1e-4] = 0.0  # a far token is no evidence, and 0 / 0 is told from it
            columns.append(self._per_image(near))
        sums, counts = (np.column_stack(part) for part in zip(*columns, strict=True))
        kept = counts.sum(0) >= 3
        if not kept.any():
            return
        sums, counts, at = sums[:, kept], counts[:, kept], at[kept]
        low, high = self.bootstrap.ratio_interval(sums, counts)
        value = sums.sum(0) / counts.sum(0)
        for i, norm in enumerate(at):
            yield {
                "metric": "attention curve", "norm": norm, "value": value[i], "low": low[i],
                "high": high[i], "n_images": (counts[:, i] > 0).sum(),
            }  # fmt: skip

    def spearman(
        self, norms: Values, member: Bool[ndarray, " items"], group: str
    ) -> Iterator[dict[str, Any]]:
        """Rank correlation of norm and attention over an image's tokens, averaged over images.

        Questions about one image are averaged first; an item without a correlation is left out.
        """
        rho = spearman(self.attention, norms)
        chosen = member & np.isfinite(rho)
        if not chosen.any():
            return
        per_image = pd.Series(rho[chosen]).groupby(self.images[chosen]).mean().to_numpy()[:, None]
        low, high = self.bootstrap.ratio_interval(per_image, np.ones_like(per_image))
        yield {
            "metric": "spearman", "group": group, "value": per_image.mean(), "low": low[0],
            "high": high[0], "n": chosen.sum(), "n_images": len(per_image),
        }  # fmt: skip


def norm_edges(norms: Values, bins: int, sink_norms: Float[ndarray, " sinks"]) -> list[float]:
    """Edges of about ``bins`` bins, even in log norm, with an edge where sinks begin.

    Args:
        norms: of all tokens.
        bins: how many, 2 or more.
        sink_norms: of those that are sinks.

    Raises:
        ValueError: norms that are not positive and finite.
    """
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise ValueError("norms must be positive and finite: check what the encoder was given")
    low, high = float(norms.min()), float(np.nextafter(np.float32(norms.max()), np.inf))
    tau = float(sink_norms.min()) if sink_norms.size else None
    if tau is None or not low < tau < high:
        return [float(edge) for edge in np.geomspace(low, high, bins + 1)]
    below = round(bins * np.log(tau / low) / np.log(high / low))
    below = min(max(below, 1), bins - 1)
    left = np.geomspace(low, tau, below + 1)[:-1]
    return [float(edge) for edge in (*left, *np.geomspace(tau, high, bins - below + 1))]


def shuffled_order(shape: tuple[int, ...], seed: int) -> Int[ndarray, "items tokens"]:
    """For each item a random order of its tokens: the control's norms are the true ones in it."""
    return np.random.default_rng(seed).permuted(np.tile(np.arange(shape[1]), (shape[0], 1)), axis=1)


def groups_of(groups: pd.Series) -> dict[str, Bool[ndarray, " items"]]:
    """``all``, then every group by name: which items belong to it."""
    members = {"all": np.ones(len(groups), dtype=np.bool_)}
    for group in sorted(set(groups.dropna())):
        members[str(group)] = (groups == group).to_numpy(dtype=np.bool_)
    return members


def spearman(first: Values, second: Values) -> Float[ndarray, " items"]:
    """Pearson's correlation of ranks, ties averaged; NaN where one side is constant."""
    a, b = (rankdata(part, axis=1) for part in (first, second))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    spread = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    with np.errstate(invalid="ignore"):
        return np.where(spread > 0, (a * b).sum(1) / spread, np.nan)
