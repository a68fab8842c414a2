"""Norms of visual tokens, and the threshold that parts sinks from the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter, StrMethodFormatter

from diysink.drawing import MUTED, NONSINK, SINK, Drawing, drawing


def draw_norms(verdict: Mapping[str, Any], histogram: Sequence[Mapping[str, Any]]) -> Drawing:
    """The histogram of one encoder with tau.

    Args:
        verdict: its row of the table of verdicts.
        histogram: its bins, rising.
    """
    name, tau = verdict["encoder"], verdict["tau"]
    label = "L2 norm over the image's median" if verdict["relative"] else "L2 norm of the token"
    known = tau is not None and bool(np.isfinite(tau))
    edges = np.array([*(row["norm_low"] for row in histogram), histogram[-1]["norm_high"]])
    tokens = np.array([row["tokens"] for row in histogram])
    interval = (verdict["low"], verdict["high"])
    sure = known and all(end is not None and np.isfinite(end) for end in interval)

    def draw(axes: Axes) -> None:
        above = edges[:-1] >= tau if known else np.zeros(len(tokens), dtype=bool)
        axes.bar(
            edges[:-1], np.where(above, 0, tokens), np.diff(edges), align="edge", color=NONSINK
        )
        axes.bar(edges[:-1], np.where(above, tokens, 0), np.diff(edges), align="edge", color=SINK)
        axes.set(xscale="log", yscale="symlog", xlabel=label, ylabel="tokens")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(_ticks(edges[0], edges[-1]))
        if known:
            axes.axvline(tau, color=SINK, linewidth=1.4, linestyle="--")
            axes.annotate(
                f"tau {tau:.3g}", (tau, 1), (4, -2), xycoords=("data", "axes fraction"),
                textcoords="offset points", va="top",
            )  # fmt: skip
        if sure:
            axes.axvspan(*interval, color=MUTED, alpha=0.25, linewidth=0)

    caption = (
        f"All visual tokens of {verdict['images']} images at layer {verdict['layer']}, one count "
        "per bin, logarithmic both ways."
    )
    if known:
        caption += f" Dashed: tau = {tau:.3g}"
        caption += (
            f", grey its 95 % bootstrap interval, {interval[0]:.3g} to {interval[1]:.3g}."
            if sure
            else f" ({verdict['method']}, without an interval)."
        )
    return drawing(f"norms-{_slug(name)}", _title(verdict, known), caption, 2.5, draw)


def _title(verdict: Mapping[str, Any], known: bool) -> str:
    name, mean = verdict["encoder"], verdict["sinks_per_image"]
    if verdict["found"]:
        return (
            f"{name}: credible sinks, {mean:.2g} of {verdict['patches']} tokens per image above "
            f"tau = {verdict['tau']:.3g}"
        )
    if known:
        return (
            f"{name}: no credible sinks, though {mean:.2g} of {verdict['patches']} tokens per "
            f"image exceed {verdict['tau']:.3g}"
        )
    return f"{name}: no credible sinks, and no second population of norms"


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers inside an interval of a logarithmic axis."""
    tens = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps in (range(1, 10), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        ticks = [float(ten * step) for ten in tens for step in steps if low <= ten * step <= high]
        if len(ticks) <= 7:
            return ticks
    return ticks


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
