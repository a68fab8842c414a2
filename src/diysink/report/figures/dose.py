"""The gain at every level of a dose, with its interval: where there is none, where it is seen."""

from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from diysink.drawing import (
    BOTH,
    MARKERS,
    MUTED,
    Drawing,
    drawing,
    legend_above,
    level_name,
    rows_of,
    short,
)
from diysink.evaluation.dose import in_order
from diysink.evaluation.verdict import ends, over


def draw_dose(table: pd.DataFrame) -> Drawing:
    """One dose: the difference of variant and baseline over its levels, in two groups.

    Args:
        table: rows of one dose, as `diysink.evaluation.dose_response` gives them, with ``dose``,
            ``knob``, ``planted``, ``first``, ``level_name`` and ``interval_level``.
    """
    one = table.iloc[0]
    groups = list(dict.fromkeys([one["first"], "all"]))
    lines = {group: rows_of(table[table["group"] == group]) for group in groups}
    colours = dict(zip(groups, (BOTH, MUTED), strict=False))

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=MUTED, linewidth=1)
        for i, (group, rows) in enumerate(lines.items()):
            places = [place + 0.08 * i for place in range(len(rows))]
            for place, row in zip(places, rows, strict=True):
                axes.plot([place] * 2, [100 * end for end in ends(row)], color=colours[group])
            gains = [100 * row["difference"] for row in rows]
            axes.plot(places, gains, MARKERS[i], color=colours[group], linestyle="-",
                      linewidth=0.9, markersize=4.5, label=f"{group} questions")  # fmt: skip
        names = [short(row["level_name"], 14) for row in lines[groups[0]]]
        axes.set_xticks(range(len(names)), names)
        axes.set_xlabel(fill(one["knob"], 50))
        axes.set_ylabel(f"{one['variant']}\nless {one['baseline']} (points)")
        legend_above(axes)

    first = lines[groups[0]]
    gains = [row["difference"] for row in first]
    kept = in_order(gains, one["planted"])
    detects = null_end(first, one["planted"])["detectable"]
    late = sorted({row["level_name"] for row in first if not row["converged"]})
    return drawing(
        f"dose-{one['dose']}",
        f"{one['dose']}: {one['variant']} less {one['baseline']} goes from {100 * gains[0]:+.1f} "
        f"to {100 * gains[-1]:+.1f} points on {groups[0]} questions; planted: it "
        f"{one['planted']}, {'as it does' if kept else 'and not every level keeps the order'}",
        f"Along the axis: {one['knob']}. Lines: {level_name(one['interval_level'])} intervals over "
        f"{over(first)}, {one['n_seeds']} {'training' if one['n_seeds'] == 1 else 'trainings'}."
        + (
            f" At the null end this design detects {100 * detects:.1f} points with 80 % power."
            if pd.notna(detects)
            else ""
        )
        + (f" Not all trainings have converged at: {', '.join(late)}." if late else ""),
        2.6,
        draw,
    )


def null_end(rows: list[dict[str, Any]], planted: str) -> dict[str, Any]:
    """The level at which nothing is to be won."""
    return rows[0] if planted == "rises" else rows[-1]
