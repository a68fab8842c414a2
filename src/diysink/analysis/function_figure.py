"""Heads by what they put out at their sink: ratio against stable rank."""

import pandas as pd
from matplotlib.axes import Axes

from diysink.analysis.table import NONE, select
from diysink.drawing import (
    BOTH,
    GRID,
    MUTED,
    NONSINK,
    SINK,
    Drawing,
    drawing,
    legend_above,
    level_name,
)

OFTEN = 0.5
"""A head is counted where more than this share of the images has it so."""


def draw_function(table: pd.DataFrame, level: float) -> Drawing:
    """One mark a head that has any sink event.

    Args:
        table: of the analysis.
        level: of its intervals.
    """
    rows = select(table, control=NONE).pivot_table("value", ["where", "layer", "head"], "metric")
    rows = rows.reindex(columns=["event", "ratio", "stable rank", "vsink"]).dropna().reset_index()

    def draw(axes: Axes) -> None:
        top = max([1.0, *rows["ratio"]])
        axes.axhspan(0, 0.2, color=GRID, alpha=0.6, linewidth=0)
        axes.fill_between([1, 1.5], 0.5, 1.1 * top, color=GRID, alpha=0.6, linewidth=0)
        axes.text(1.02, 0.02, "NOP", color=MUTED, va="bottom")
        axes.text(1.02, 1.08 * top, "broadcast", color=MUTED, va="top")
        vsink = rows["vsink"] > OFTEN
        for chosen, colour, marker, label in (
            ((rows["where"] == "vit") & vsink, SINK, "o", "ViT, a V-sink"),
            ((rows["where"] == "vit") & ~vsink, BOTH, "^", "ViT, another token"),
            ((rows["where"] == "llm") & vsink, SINK, "s", "LM, a V-sink"),
            ((rows["where"] == "llm") & ~vsink, NONSINK, "D", "LM, another token"),
        ):
            for often in (True, False):
                part = rows[chosen & ((rows["event"] > OFTEN) == often)]
                axes.scatter(
                    part["stable rank"], part["ratio"], s=22, marker=marker, linewidths=0.9,
                    facecolors=colour if often else "none", edgecolors=colour,
                    label=label if often else None,
                )  # fmt: skip
        axes.set(xlabel="stable rank of the head's output", ylabel="sink over other tokens")
        axes.set_xlim(left=1)
        axes.set_ylim(0, 1.1 * top)
        legend_above(axes)

    return drawing(
        "function",
        _title(table),
        "One mark a head with a sink event in some image: medians over those of "
        f"{table['n_images'].max()} images (their {level_name(level)} intervals are in the table). "
        "Filled: an event in more than half of the images. Control: the values are shuffled over "
        "the tokens.",
        3.0,
        draw,
    )


def _title(table: pd.DataFrame) -> str:
    def count(metric: str, control: str) -> int:
        return int((select(table, metric=metric, control=control)["value"] > OFTEN).sum())

    total = len(select(table, metric="event", control=NONE))
    events = count("event", NONE)
    if not events:
        return f"None of {total} heads has a sink event in more than half of the images"
    control = count("nop", "shuffled") + count("broadcast", "shuffled")
    return (
        f"Heads with a sink event in more than half of the images: {events} of {total}; NOP: "
        f"{count('nop', NONE)}, broadcast: {count('broadcast', NONE)}; with shuffled values: "
        f"{control}"
    )
