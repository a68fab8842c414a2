"""Which verdicts turn if tau, or the layer looked at, were another."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from diysink.analysis.table import ALL
from diysink.drawing import (
    BOTH,
    INK,
    MUTED,
    SINK,
    Drawing,
    drawing,
    level_name,
    short,
)

Rows = Sequence[Mapping[str, Any]]
_MARKS = {
    "shown": (BOTH, "✓"),
    "refuted": (SINK, "✗"),
    "undecided": (INK, "?"),
    "not measurable here": (MUTED, "–"),
}
_NAMES = {"tau": "times tau", "layer": "layer"}


def draw_robustness(rows: Rows, level: float) -> Drawing:
    """A row of cells per conclusion, a cell per setting; the run's own setting is outlined.

    Args:
        rows: of the robustness table.
        level: of the intervals that made the verdicts.
    """
    lines = list(dict.fromkeys((row["parameter"], row["claim"]) for row in rows))
    settings = {
        parameter: sorted({row["setting"] for row in rows if row["parameter"] == parameter})
        for parameter in dict.fromkeys(parameter for parameter, _ in lines)
    }
    wide = max(len(values) for values in settings.values())
    # Each parameter has a line of its own above its rows, on which its settings stand.
    places: dict[tuple[str, str | None], int] = {}
    for parameter in settings:
        places[parameter, None] = len(places)
        for line in lines:
            if line[0] == parameter:
                places[line] = len(places)

    def draw(axes: Axes) -> None:
        for parameter, values in settings.items():
            for x, value in enumerate(values):
                said = "mean" if (parameter, value) == ("layer", ALL) else f"{value:g}"
                axes.text(x, places[parameter, None], said, ha="center", va="center", size=8)
        for row in rows:
            colour, mark = _MARKS[row["verdict"]]
            x, y = settings[row["parameter"]].index(row["setting"]), places[_line(row)]
            corner, size = (x - 0.42, y - 0.36), (0.84, 0.72)
            axes.add_patch(Rectangle(corner, *size, facecolor=colour, alpha=0.22, linewidth=0))
            if row["chosen"]:
                axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=INK, linewidth=1.6))
            axes.text(x, y, mark, ha="center", va="center", color=INK)
        names = [
            _NAMES.get(parameter, parameter) if claim is None else short(claim, 28)
            for parameter, claim in places
        ]
        axes.set_yticks(range(len(names)), names)
        axes.set(xlim=(-0.6, wide - 0.4), ylim=(len(names) - 0.4, -0.6))
        axes.set_xticks([])
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        axes.spines[["left", "bottom"]].set_visible(False)

    return drawing(
        "robustness",
        _title(rows, lines),
        "✓ shown, ✗ refuted, ? undecided, – not measurable, each by the claim's rule from "
        f"{level_name(level)} intervals over {_images(rows)} images and its control. Outlined: "
        "what the claim itself looks at. Accuracies are not here: they need the models again.",
        0.5 + 0.27 * len(places),
        draw,
    )


def _line(row: Mapping[str, Any]) -> tuple[str, str | None]:
    return row["parameter"], row["claim"]


def _images(rows: Rows) -> str:
    numbers = sorted({row["n_images"] for row in rows if row["n_images"]}) or [0]
    ends = dict.fromkeys((numbers[0], numbers[-1]))
    return " to ".join(f"{number:,}" for number in ends)


def _title(rows: Rows, lines: Sequence[tuple[str, str]]) -> str:
    turned = [line for line in lines if any(row["flips"] and _line(row) == line for row in rows)]
    if not turned:
        return f"None of {len(lines)} conclusions turns with tau or with the layer"
    said = {parameter: [c for p, c in turned if p == parameter] for parameter, _ in turned}
    where = "; ".join(f"with {name}: {', '.join(found)}" for name, found in said.items())
    return f"{len(turned)} of {len(lines)} conclusions turn somewhere ({where})"
