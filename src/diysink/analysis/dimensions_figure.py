"""How far the largest hidden dimensions of the language model stand out at sinks."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from diysink.analysis.table import NONE, select
from diysink.drawing import (
    BOTH,
    INK,
    LINES,
    MARKERS,
    MUTED,
    SERIES,
    SINK,
    Drawing,
    draw_line,
    drawing,
    legend_above,
    level_name,
    rows_of,
)


def draw_dimensions(ratios: pd.DataFrame, level: float) -> Drawing:
    """The largest dimension of V-sinks by layer, a line per checkpoint, and its controls.

    Args:
        ratios: rows of the metric ``ratio``.
        level: of the intervals.
    """
    checkpoints = list(dict.fromkeys(ratios["checkpoint"]))
    last = checkpoints[-1]

    def largest(checkpoint: str, condition: str, control: str = NONE) -> list[dict[str, Any]]:
        rows = select(ratios, checkpoint=checkpoint, condition=condition, control=control)
        return rows_of(rows.loc[rows.groupby("layer")["value"].idxmax()])

    def draw(axes: Axes) -> None:
        for i, checkpoint in enumerate(checkpoints):
            colour = SINK if checkpoint == last else SERIES[(i + 1) % len(SERIES)]
            line, label = LINES[(len(checkpoints) - 1 - i) % len(LINES)], f"V-sinks, {checkpoint}"
            if rows := largest(checkpoint, "vsink"):
                draw_line(axes, rows, "layer", 1.0, colour, MARKERS[i % 6], line, label)
        for condition, control, colour, label in (
            ("lsink", NONE, BOTH, f"L-sinks, {last}"),
            ("first", NONE, INK, f"first token, {last}"),
            ("vsink", "random-matched", MUTED, f"random nonsinks, {last}"),
        ):
            if rows := largest(last, condition, control):
                draw_line(axes, rows, "layer", 1.0, colour, "x", "--", label)
        axes.set(xlabel="layer of the language model", ylabel="|x[d]| / RMS(x), largest d")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_above(axes)

    return drawing(
        "dimensions",
        _title(ratios, checkpoints),
        "Ratio of the largest hidden dimension of each kind of token to the state's root mean "
        f"square, on {ratios['n_images'].max()} images; layer n shows what enters it. Lines: "
        f"{level_name(level)} intervals of the mean over images.",
        3.3,
        draw,
    )


def _title(ratios: pd.DataFrame, checkpoints: Sequence[str]) -> str:
    def massive(checkpoint: str, condition: str) -> str:
        rows = select(ratios, checkpoint=checkpoint, condition=condition, control=NONE)
        dimensions = sorted(set(rows.loc[rows["massive"].astype(bool), "dimension"]))
        shown = ", ".join(map(str, dimensions[:6]))
        return f"{shown} ..." if len(dimensions) > 6 else shown or "none"

    last = checkpoints[-1]
    names = {"vsink": "V-sinks", "lsink": "L-sinks", "first": "the first token"}
    now = {name: massive(last, condition) for condition, name in names.items()}
    if set(now.values()) == {"none"}:
        return f"No dimension is massive at any kind of token ({last})"
    title = "; ".join(f"{name}: {dimensions}" for name, dimensions in now.items())
    title = f"Massive dimensions at {title} ({last})"
    if len(checkpoints) > 1:
        title += f"; V-sinks before ({checkpoints[0]}): {massive(checkpoints[0], 'vsink')}"
    return title
