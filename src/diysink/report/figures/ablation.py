"""What is lost without sinks, or without the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from diysink.drawing import (
    BOTH,
    INK,
    MUTED,
    NONSINK,
    SINK,
    Drawing,
    drawing,
    level_name,
    short,
)

Rows = Sequence[Mapping[str, Any]]
_SEEN = {  # colour, hatching, name; random tokens stand under the sinks that they are matched to
    "both": (BOTH, "", "both"),
    "sink": (SINK, "", "sinks only"),
    "matched": (MUTED, "", "as many random"),
    "nonsink": (NONSINK, "", "nonsinks only"),
    "unmatched": (MUTED, "////", "all but those"),
}


def draw_ablation(rows: Rows, dissociation: Rows, level: float) -> Drawing:
    """Accuracy by tokens seen, a cluster of bars per group.

    Args:
        rows: of the token ablation, by one column, ``group`` naming its values.
        dissociation: its contrasts; empty where it was not computed.
        level: of the intervals.
    """
    groups = list(dict.fromkeys(row["group"] for row in rows))
    seen = [tokens for tokens in _SEEN if any(row["tokens"] == tokens for row in rows)]
    step = 0.81 / len(seen)

    def draw(axes: Axes) -> None:
        for i, tokens in enumerate(seen):
            colour, hatch, name = _SEEN[tokens]
            chosen = {row["group"]: row for row in rows if row["tokens"] == tokens}
            for g, group in enumerate(groups):
                row, y = chosen[group], g + (i - (len(seen) - 1) / 2) * step
                label, filled = (name if g == 0 else None), "none" if hatch else colour
                axes.barh(y, 100 * row["accuracy"], 0.92 * step, facecolor=filled, label=label,
                          edgecolor=colour, linewidth=0.4, hatch=hatch)  # fmt: skip
                axes.plot([100 * row["low"], 100 * row["high"]], [y, y], color=INK, linewidth=1.4)
        axes.set_yticks(range(len(groups)), [short(group) for group in groups])
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("right answers (%)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1)

    return drawing(
        "ablation",
        _ablation_title(rows, dissociation),
        f"One model, by the visual tokens it sees, on {rows[0]['n_items']} questions about "
        f"{rows[0]['n_images']} images, the same for all. Lines: "
        f"{level_name(level)} bootstrap intervals over images.",
        0.9 + 0.62 * len(groups) * max(1.0, len(seen) / 3.5),
        draw,
    )


def _ablation_title(rows: Rows, dissociation: Rows) -> str:
    if not dissociation:
        alone = {row["tokens"]: row for row in rows if row["group"] == "all"}
        return (
            f"Sinks alone: {100 * alone['sink']['accuracy']:.0f} % right; nonsinks alone: "
            f"{100 * alone['nonsink']['accuracy']:.0f} %; both: "
            f"{100 * alone['both']['accuracy']:.0f} %"
        )
    first, second, contrast = dissociation
    sides = ", ".join(
        f"{'sinks' if row['value'] > 0 else 'nonsinks'} alone are {abs(100 * row['value']):.0f} "
        f"points ahead on {row['contrast']} questions"
        for row in (first, second)
    )
    double = first["low"] > 0 and second["high"] < 0
    if double:
        return f"A double dissociation: {sides}"
    if contrast["low"] > 0:
        return f"The groups differ as claimed, but not both ways: {sides}"
    return f"No dissociation shown: {sides}"
