"""What goes on inside: attention by norm and layer, sink dimensions, criteria of a sink."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

from diysink.report.figures.drawing import (
    BOTH,
    INK,
    LINES,
    MARKERS,
    MUTED,
    NONSINK,
    SERIES,
    SINK,
    Drawing,
    drawing,
    level_name,
)
from diysink.report.figures.function import draw_function, draw_replacement

Rows = Sequence[Mapping[str, Any]]
Tables = Mapping[str, pd.DataFrame]
_TOKENS = {
    "vsink": (SINK, "o", "V-sinks"),
    "lsink": (BOTH, "^", "L-sinks"),
    "nonsink": (NONSINK, "s", "non-sinks"),
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
                _line(axes, chosen, "layer", 100.0, colour, marker, "-", label)
        if control:
            _line(
                axes, control, "layer", 100.0, MUTED, "x", "--", "V-sinks, mask shuffled (control)"
            )
        axes.set(xlabel="layer of the language model", ylabel="attention per token (%)")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1)

    overall = {row["kind"]: row for row in rows if row["layer"] == -1 and row["mask"] == "true"}
    told = ", ".join(
        f"{100 * overall[kind]['value']:.2f} % per {singular}"
        for kind, singular in (("vsink", "V-sink"), ("lsink", "L-sink"), ("nonsink", "non-sink"))
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


def draw_dimensions(rows: Rows, level: float) -> Drawing:
    """The loudest dimension of V-sinks by layer, a line per checkpoint, and its controls.

    Args:
        rows: of ``sink_dimensions``.
        level: of the intervals.
    """
    checkpoints = list(dict.fromkeys(row["checkpoint"] for row in rows))
    last = checkpoints[-1]

    def loudest(checkpoint: str, kind: str, mask: str = "true") -> list[Mapping[str, Any]]:
        best: dict[int, Mapping[str, Any]] = {}
        for row in rows:
            if (row["checkpoint"], row["kind"], row["mask"]) == (checkpoint, kind, mask):
                held = best.get(row["layer"])
                best[row["layer"]] = row if held is None or row["ratio"] > held["ratio"] else held
        return [best[layer] for layer in sorted(best)]

    def draw(axes: Axes) -> None:
        for i, checkpoint in enumerate(checkpoints):
            colour = SINK if checkpoint == last else SERIES[(i + 1) % len(SERIES)]
            line, label = LINES[(len(checkpoints) - 1 - i) % len(LINES)], f"V-sinks, {checkpoint}"
            chosen = loudest(checkpoint, "vsink")
            if chosen:
                _line(axes, chosen, "layer", 1.0, colour, MARKERS[i % 6], line, label, key="ratio")
        for kind, mask, colour, label in (
            ("lsink", "true", BOTH, f"L-sinks, {last}"),
            ("first", "true", INK, f"first token, {last}"),
            ("vsink", "shuffled", MUTED, f"random non-sinks, {last}"),
        ):
            chosen = loudest(last, kind, mask)
            if chosen:
                _line(axes, chosen, "layer", 1.0, colour, "x", "--", label, key="ratio")
        axes.set(xlabel="layer of the language model", ylabel="|x[d]| / RMS(x), loudest d")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1)

    return drawing(
        "dimensions",
        _dimensions_title(rows, checkpoints),
        "How far the loudest hidden dimension of each kind of token stands above the state's root "
        f"mean square, on {max(row['n_images'] for row in rows)} images; what enters a layer is "
        f"told under its number. Lines: {level_name(level)} intervals of the mean over images.",
        3.3,
        draw,
    )


def _dimensions_title(rows: Rows, checkpoints: Sequence[str]) -> str:
    def massive(checkpoint: str, kind: str) -> list[int]:
        return sorted(
            {row["dimension"] for row in rows if row["massive"] and row["mask"] == "true"
             and (row["checkpoint"], row["kind"]) == (checkpoint, kind)}
        )  # fmt: skip

    last = checkpoints[-1]
    names = {"vsink": "V-sinks", "lsink": "L-sinks", "first": "the first token"}
    found = {kind: massive(last, kind) for kind in names}
    if not any(found.values()):
        return f"No dimension is massive at any kind of token ({last})"
    told = "; ".join(
        f"{names[kind]}: {', '.join(map(str, sets[:6])) or 'none'}{' ...' if len(sets) > 6 else ''}"
        for kind, sets in found.items()
    )
    before = massive(checkpoints[0], "vsink")
    if len(checkpoints) == 1:
        return f"Massive dimensions at {told} ({last})"
    changed = "none" if not before else ", ".join(map(str, before[:6]))
    return f"Massive dimensions at {told} ({last}); V-sinks before ({checkpoints[0]}): {changed}"


def draw_criteria(rows: Rows, level: float) -> Drawing:
    """Share of the visual tokens that each criterion flags, in the ViT and layer by layer.

    Args:
        rows: of ``criteria``.
        level: of the intervals.
    """
    places = list(dict.fromkeys((row["where"], row["layer"]) for row in rows))
    x = {place: i for i, place in enumerate(places)}
    names = list(dict.fromkeys(row["criterion"] for row in rows))

    def draw(axes: Axes) -> None:
        axes.axhline(50, color=MUTED, linestyle="--", linewidth=1)
        for i, name in enumerate(names):
            chosen = [
                {**row, "x": x[row["where"], row["layer"]] + (i - 1.5) * 0.08}
                for row in rows
                if row["criterion"] == name
            ]
            colour, marker = SERIES[i % len(SERIES)], MARKERS[i % len(MARKERS)]
            _line(axes, chosen, "x", 100.0, colour, marker, "", name, key="share")
        step = max(1, len(places) // 10)
        shown = places[::step]
        labels = ["ViT" if where == "vit" else f"L{layer}" for where, layer in shown]
        axes.set_xticks([x[place] for place in shown], labels)
        axes.set(ylabel="visual tokens flagged (%)", xlabel="ViT; layers of the language model")
        axes.set_ylim(bottom=-1)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, columnspacing=1)

    flagged = sorted({row["criterion"] for row in rows if row["warning"]})
    vit = [row for row in rows if row["where"] == "vit"]
    told = ", ".join(f"{row['criterion']} {100 * row['share']:.1f} %" for row in vit)
    warning = (
        f"Not to be trusted here: {', '.join(flagged)} flags more than half of the tokens. "
        if flagged
        else ""
    )
    return drawing(
        "criteria",
        f"{warning}In the ViT the criteria flag different shares of the tokens: {told}",
        f"Visual tokens on {max(row['n_images'] for row in rows)} images. norm: at least tau; "
        "massive: at least 100 and 1000 times the median; ratio: largest dimension over the RMS, "
        "at least 20 at a width of 4096; attention: at least .3 in some head. Above the dashed "
        "line a criterion flags more than half. Lines: "
        f"{level_name(level)} bootstrap intervals over images.",
        2.9,
        draw,
    )


def _line(
    axes: Axes,
    rows: Rows,
    at: str,
    scale: float,
    colour: str,
    marker: str,
    line: str,
    label: str,
    key: str = "value",
) -> None:
    """A line with its intervals."""
    for row in rows:
        ends = [scale * row["low"], scale * row["high"]]
        axes.plot([row[at], row[at]], ends, color=colour, linewidth=1.4)
    axes.plot(
        [row[at] for row in rows], [scale * row[key] for row in rows], marker, color=colour,
        markersize=4.5, linestyle=line, linewidth=0.9, label=label,
    )  # fmt: skip


def _told(row: Mapping[str, Any], key: str) -> str:
    return f"{row[key]:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def draw_section_layers(tables: Tables, level: float) -> list[Drawing]:
    """Figures of attention by layer, from the tables that are there."""
    drawings = []
    if {"attention_curve", "norm_attention"} <= tables.keys():
        curve, rho = (_rows(tables[name]) for name in ("attention_curve", "norm_attention"))
        drawings.append(draw_curve(curve, rho, level))
    if "attention_by_layer" in tables:
        drawings.append(draw_layers(_rows(tables["attention_by_layer"]), level))
    return drawings


def draw_section_dimensions(tables: Tables, level: float) -> list[Drawing]:
    """The figure of sink dimensions, if its table is there."""
    if "sink_dimensions" not in tables:
        return []
    return [draw_dimensions(_rows(tables["sink_dimensions"]), level)]


def draw_section_criteria(tables: Tables, level: float) -> list[Drawing]:
    """The figure of criteria, if its table is there."""
    return [draw_criteria(_rows(tables["criteria"]), level)] if "criteria" in tables else []


def draw_section_function(tables: Tables, level: float) -> list[Drawing]:
    """Figures of what sinks do, from the tables that are there."""
    drawings = []
    if "sink_function" in tables:
        drawings.append(draw_function(_rows(tables["sink_function"]), level))
    if "replacement" in tables:
        drawings.append(draw_replacement(_rows(tables["replacement"]), level))
    return drawings


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
