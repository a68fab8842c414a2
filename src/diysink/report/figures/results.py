"""Accuracies, and differences to the baseline: a point and an interval per variant and group."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from diysink.drawing import (
    INK,
    MARKERS,
    MUTED,
    SERIES,
    Drawing,
    drawing,
    legend_above,
    level_name,
    short,
)
from diysink.evaluation.verdict import AHEAD, BEHIND, UNDECIDED, ends, outcome, over

Rows = Sequence[Mapping[str, Any]]


def draw_accuracy(rows: Rows, settings: Mapping[str, Any]) -> Drawing:
    """Accuracy of every variant, over all items and by group."""
    overall = [row for row in rows if row["group"] == "all"]
    best = max(overall, key=lambda row: row["accuracy"])
    said = [best]
    said += [row for row in overall if row["variant"] == settings["candidate"] and row is not best]
    title = "; ".join(
        f"{row['variant']} answers {100 * row['accuracy']:.1f} % right"
        f"{' (the most)' if row is best else ''}"
        for row in said
    )
    return drawing(
        "accuracy",
        title,
        f"Exact match on {best['n_items']} questions about {best['n_images']} images, "
        f"{_seeds(best['n_seeds'])}. Bars: {level_name(settings['level'])} intervals "
        f"over {over(overall)}.",
        _height(rows),
        lambda axes: _points(axes, rows, "accuracy", "right answers (%)"),
    )


def draw_differences(rows: Rows, settings: Mapping[str, Any]) -> Drawing | None:
    """Differences to the baseline; None where nothing was compared with it."""
    baseline, level = settings["baseline"], settings["level"]
    rows = [row for row in rows if row["baseline"] == baseline]
    overall = [row for row in rows if row["group"] == "all"]
    if not overall:
        return None
    results = [outcome(row, level) for row in overall]
    title = (
        f"Of {len(overall)} variants {results.count(AHEAD)} are ahead of {baseline}, "
        f"{results.count(BEHIND)} behind, {results.count(UNDECIDED)} undecided"
    )

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=INK, linewidth=1)
        _points(axes, rows, "difference", f"difference to {short(baseline)} (points)", level)

    return drawing(
        "differences",
        title,
        f"Paired differences on {overall[0]['n_items']} questions about {overall[0]['n_images']} "
        f"images, {_seeds(overall[0]['n_seeds'])}. Bars: {level_name(level)} intervals "
        f"over {over(overall)}. Filled: a difference after Holm's correction over all comparisons; "
        "the title counts these over all questions. One training decides nothing between models "
        "that were trained apart.",
        _height(rows),
        draw,
    )


def _points(axes: Axes, rows: Rows, value: str, label: str, level: float | None = None) -> None:
    """Variants down; in each row a point per group. With a level, undecided points are hollow."""
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    groups = list(dict.fromkeys(row["group"] for row in rows))
    step = 0.8 / len(groups)
    for row in rows:
        g = groups.index(row["group"])
        y = variants.index(row["variant"]) + (g - (len(groups) - 1) / 2) * step
        colour = SERIES[g % len(SERIES)]
        axes.plot([100 * end for end in ends(row)], [y, y], color=colour, linewidth=1.6)
        filled = level is None or outcome(row, level) != UNDECIDED
        axes.plot(
            100 * row[value],
            y,
            MARKERS[g % len(MARKERS)],
            color=colour,
            markerfacecolor=colour if filled else "none",
            markersize=4.5,
            linestyle="none",
        )
    for g, group in enumerate(groups):
        axes.plot(
            [], [], MARKERS[g % len(MARKERS)], color=SERIES[g % len(SERIES)], markersize=5,
            label=short(group),
        )  # fmt: skip
    axes.set_yticks(range(len(variants)), [short(variant) for variant in variants])
    axes.set_ylim(len(variants) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    for edge in range(1, len(variants)):
        axes.axhline(edge - 0.5, color=MUTED, linewidth=0.3)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(label)
    legend_above(axes, min(4, len(groups)))


def _height(rows: Rows) -> float:
    variants, groups = (len({row[name] for row in rows}) for name in ("variant", "group"))
    return 1.0 + variants * max(0.3, 0.115 * groups)


def _seeds(number: int) -> str:
    return "one training seed" if number == 1 else f"mean of {number} training seeds"
