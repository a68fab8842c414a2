"""Attention per visual token against its norm: in bins, and along a smooth curve."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter

from diysink.analysis.table import NONE, select
from diysink.drawing import MUTED, SINK, Drawing, drawing, legend_above, level_name

_SERIES = (
    ("shuffled", MUTED, "s", "--", "norms shuffled (control)"),
    (NONE, SINK, "o", "-", "measured"),
)


def draw_bins(bins: pd.DataFrame, ratio: pd.DataFrame, level: float) -> Drawing:
    """Attention per token in bins of norm, with the shuffled control.

    Args:
        bins: rows of ``attention by norm``.
        ratio: rows of ``attention ratio``, over all questions.
        level: of the intervals.
    """

    def draw(axes: Axes) -> None:
        for control, colour, marker, _, label in _SERIES:
            rows = select(bins, control=control)
            x = (rows["norm_low"] * rows["norm_high"]) ** 0.5
            axes.vlines(x, 100 * rows["low"], 100 * rows["high"], color=colour, linewidth=1.4)
            axes.plot(x, 100 * rows["value"], marker, color=colour, markersize=4.5,
                      linestyle="-", linewidth=0.8, label=label)  # fmt: skip
        axes.set_ylim(bottom=0)
        _norm_axis(axes)

    measured = select(bins, control=NONE)
    return drawing(
        "attention",
        _ratio_title(ratio),
        "Attention from the positions that generate the answer to each visual token, mean over "
        f"heads, layers and answer tokens, in bins of norm: {measured['n'].sum()} tokens on "
        f"{bins['n_images'].max()} images. Lines: {level_name(level)} bootstrap intervals over "
        "images. In the control each question's norms are shuffled over its tokens.",
        2.7,
        draw,
    )


def draw_curve(curve: pd.DataFrame, rho: pd.DataFrame, level: float) -> Drawing:
    """Attention per token against norm, smooth, with its band and the shuffled control.

    Args:
        curve: rows of ``attention curve``.
        rho: rows of ``spearman``, over all questions.
        level: of the intervals.
    """

    def draw(axes: Axes) -> None:
        for control, colour, _, line, label in _SERIES:
            rows = select(curve, control=control)
            low, high = 100 * rows["low"], 100 * rows["high"]
            axes.fill_between(rows["norm"], low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(rows["norm"], 100 * rows["value"], line, color=colour, linewidth=1.5,
                      label=label)  # fmt: skip
        # A band where tokens are few must not flatten the rest.
        axes.set_ylim(0, 160 * curve["value"].max())
        _norm_axis(axes)

    measured, control = (_one(rho, name) for name in (NONE, "shuffled"))
    if measured["low"] > max(0.0, control["high"]):
        title = "Within an image, tokens of higher norm get more attention"
    elif measured["high"] < min(0.0, control["low"]):
        title = "Within an image, tokens of higher norm get less attention"
    else:
        title = "Within an image, no correlation of norm and attention is shown"
    return drawing(
        "attention-curve",
        f"{title}: Spearman's rho {_text(measured)}; with norms shuffled {_text(control)}",
        "Mean attention of tokens near each norm (Gaussian kernel in log norm); rho per image, "
        f"averaged over {measured['n_images']} images. Bands and brackets: {level_name(level)} "
        "bootstrap intervals over images, pointwise. No curve where tokens are too few.",
        2.7,
        draw,
    )


def _norm_axis(axes: Axes) -> None:
    axes.set(xscale="log", xlabel="L2 norm of the token", ylabel="attention per token (%)")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    ticks = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    legend_above(axes)


def _one(rows: pd.DataFrame, control: str) -> Any:
    return select(rows, control=control).iloc[0]


def _text(row: Any) -> str:
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def _ratio_title(ratio: pd.DataFrame) -> str:
    if ratio.empty:
        return "No visual token is a sink here: there is no ratio"
    measured, control = (_one(ratio, name) for name in (NONE, "shuffled"))
    if measured["low"] > 1:
        title = f"A sink gets {measured['value']:.1f} times the attention of another visual token"
    elif measured["high"] < 1:
        title = f"A sink gets {measured['value']:.2f} times the attention of another visual token"
    else:
        title = "No difference in attention between sinks and other visual tokens is shown"
    return (
        f"{title} [{measured['low']:.2f}, {measured['high']:.2f}]; with norms shuffled "
        f"{_text(control)}"
    )
