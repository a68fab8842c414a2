"""Attention against a token's norm, as a curve, and by kind of token, layer by layer."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

from diysink.drawing import (
    BOTH,
    MUTED,
    NONSINK,
    SINK,
    Drawing,
    Rows,
    Tables,
    draw_line,
    drawing,
    level_name,
)
from diysink.report.inputs import records

_TOKENS = {
    "vsink": (SINK, "o", "V-sinks"),
    "lsink": (BOTH, "^", "L-sinks"),
    "nonsink": (NONSINK, "s", "nonsinks"),
}


def draw_curve(curve: Rows, correlation: Rows, level: float) -> Drawing:
    """Attention per token against norm, smooth, with its band and the shuffled control.

    Args:
        curve: of ``attention_curve``.
        correlation: of ``norm_attention``.
        level: of the intervals.
    """

    def draw(axes: Axes) -> None:
        series = (("shuffled", MUTED, "--", "norms shuffled (control)"),
                  ("true", SINK, "-", "measured"))  # fmt: skip
        for mask, colour, line, label in series:
            rows = [row for row in curve if row["mask"] == mask]
            x = [row["norm"] for row in rows]
            low, high = ([100 * row[end] for row in rows] for end in ("low", "high"))
            axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
            value = [100 * row["value"] for row in rows]
            axes.plot(x, value, line, color=colour, linewidth=1.5, label=label)
        axes.set(xscale="log", xlabel="L2 norm of the token", ylabel="attention per token (%)")
        top = max(100 * row["value"] for row in curve)
        axes.set_ylim(0, 1.6 * top)  # a band where tokens are few must not flatten the rest
        low_norm, high_norm = axes.get_xlim()
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        ticks = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
        axes.set_xticks([t for t in ticks if low_norm <= t <= high_norm])
        axes.legend(loc="upper left")

    true, control = (
        next(row for row in correlation if row["group"] == "all" and row["mask"] == mask)
        for mask in ("true", "shuffled")
    )
    if true["low"] > max(0.0, control["high"]):
        says = "Within an image, tokens of higher norm get more attention"
    elif true["high"] < min(0.0, control["low"]):
        says = "Within an image, tokens of higher norm get less attention"
    else:
        says = "Within an image, norm and attention do not go together"
    return drawing(
        "attention-curve",
        f"{says}: Spearman's rho {_told(true, 'rho')}; with norms shuffled {_told(control, 'rho')}",
        "Mean attention of tokens near each norm (Gaussian kernel in log norm); rho per image, "
        f"averaged over {true['n_images']} images. Bands and brackets: {level_name(level)} "
        "bootstrap intervals over images, pointwise. No curve where tokens are too few.",
        2.7,
        draw,
    )


def draw_layers(rows: Rows, level: float) -> Drawing:
    """Attention per token of each kind, layer by layer.

    Args:
        rows: of ``attention_by_layer``.
        level: of the intervals.
    """
    means = [row for row in rows if row["head"] == -1 and row["layer"] >= 0]
    control = [row for row in means if row["mask"] == "shuffled" and row["kind"] == "vsink"]

    def draw(axes: Axes) -> None:
        for kind, (colour, marker, label) in _TOKENS.items():
            chosen = [row for row in means if row["mask"] == "true" and row["kind"] == kind]
            if chosen:
                draw_line(axes, chosen, "layer", 100.0, colour, marker, "-", label)
        if control:
            draw_line(
                axes, control, "layer", 100.0, MUTED, "x", "--", "V-sinks, mask shuffled (control)"
            )
        axes.set(xlabel="layer of the language model", ylabel="attention per token (%)")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1)

    overall = {row["kind"]: row for row in rows if row["layer"] == -1 and row["mask"] == "true"}
    told = ", ".join(
        f"{100 * overall[kind]['value']:.2f} % per {singular}"
        for kind, singular in (("vsink", "V-sink"), ("lsink", "L-sink"), ("nonsink", "nonsink"))
        if kind in overall
    )
    absent = "" if "lsink" in overall else "; this language model has no L-sinks of its own"
    return drawing(
        "attention-layers",
        f"Attention of the answer, mean over layers: {told}{absent}",
        "Share of the attention from the positions that generate the answer that one token gets, "
        f"mean over heads, on {max(row['n_images'] for row in means)} images. V-sinks: by the norm "
        "before the connector; L-sinks: massive in the dimensions in which the first token is. "
        f"Lines: {level_name(level)} bootstrap intervals over images.",
        3.0,
        draw,
    )


def _told(row: Mapping[str, Any], key: str) -> str:
    return f"{row[key]:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def draw_section_layers(tables: Tables, level: float) -> list[Drawing]:
    """Figures of attention by layer, from the tables that are there."""
    drawings = []
    curve, rho = (records(tables.get(name)) for name in ("attention_curve", "norm_attention"))
    if curve and rho:
        drawings.append(draw_curve(curve, rho, level))
    if rows := records(tables.get("attention_by_layer")):
        drawings.append(draw_layers(rows, level))
    return drawings
