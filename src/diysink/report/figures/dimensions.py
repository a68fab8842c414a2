"""How far the loudest hidden dimensions of the language model stand out at sinks."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from diysink.drawing import (
    BOTH,
    INK,
    LINES,
    MARKERS,
    MUTED,
    SERIES,
    SINK,
    Drawing,
    Rows,
    Tables,
    draw_line,
    drawing,
    level_name,
)
from diysink.report.inputs import records


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
                draw_line(
                    axes, chosen, "layer", 1.0, colour, MARKERS[i % 6], line, label, key="ratio"
                )
        for kind, mask, colour, label in (
            ("lsink", "true", BOTH, f"L-sinks, {last}"),
            ("first", "true", INK, f"first token, {last}"),
            ("vsink", "shuffled", MUTED, f"random nonsinks, {last}"),
        ):
            chosen = loudest(last, kind, mask)
            if chosen:
                draw_line(axes, chosen, "layer", 1.0, colour, "x", "--", label, key="ratio")
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


def draw_section_dimensions(tables: Tables, level: float) -> list[Drawing]:
    """The figure of sink dimensions, if its table is there."""
    rows = records(tables.get("sink_dimensions"))
    return [draw_dimensions(rows, level)] if rows else []
