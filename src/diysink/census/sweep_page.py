"""The page of a sweep over input sizes: a table by size, differences, and lines over the layers.

Without a script; each size has a page of its own in its sub-folder, which is linked.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from diysink.artifact import atomic_path
from diysink.census.page import encoded, environment, file_name_of, house_style
from diysink.census.sweep import BY_LAYER, OF_ATTENTION, QUANTITIES
from diysink.drawing import (
    LINES,
    MARKERS,
    SERIES,
    Drawing,
    draw_line,
    drawing,
    legend_above,
    logarithmic,
)

_SHARES = {name for name, one in QUANTITIES.items() if one.unit == "share"}


def write_sweep_page(card: Mapping[str, Any], path: Path) -> None:
    """Write the page; the file is whole or it is not there.

    Args:
        card: plain JSON of a sweep. The page offers it as a file.
        path: of the HTML file; pages of single sizes are beside it, ``<size>/index.html``.
    """
    text = render_sweep(card)
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")


def render_sweep(card: Mapping[str, Any]) -> str:
    """The page as text."""
    template = environment().get_template("sweep.html.jinja")
    data = json.dumps(card, ensure_ascii=False, allow_nan=False, indent=1).encode()
    return template.render(
        card=card,
        css=house_style(),
        quantities=QUANTITIES.values(),
        of_attention=OF_ATTENTION,
        drawings=[made for name in BY_LAYER if (made := _drawing(card, name)) is not None],
        download=encoded(data),
        file_name=file_name_of("sweep", card["model"]["name"]),
    )


def _drawing(card: Mapping[str, Any], name: str) -> Drawing | None:
    """A line over the layers for each size; None: nothing was measured."""
    lines = {}
    for one in card["sizes"]:
        cells = [(layer["layer"], layer["metrics"][name]) for layer in one["layers"]]
        rows = [{"layer": layer, **found} for layer, found in cells if found is not None]
        if any(row["value"] for row in rows):
            lines[one["size"]] = rows
    if not lines:
        return None
    share = name in _SHARES

    def draw(axes: Axes) -> None:
        for place, (size, rows) in enumerate(lines.items()):
            marks = SERIES[place % 6], MARKERS[place % 6], LINES[place % 4]
            draw_line(axes, rows, "layer", 100.0 if share else 1.0, *marks, f"{size} pixels")
        if share:
            axes.set_ylim(bottom=0)
        else:
            logarithmic(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        unit = "images (%)" if share else "ratio"
        axes.set(xlabel="layer", ylabel=unit)
        legend_above(axes, ncols=min(3, len(lines)))

    size, top = max(
        ((size, row) for size, rows in lines.items() for row in rows),
        key=lambda found: float(found[1]["value"]),
    )
    value = f"{100 * top['value']:.0f} %" if share else f"{top['value']:.3g}"
    label = QUANTITIES[name].label
    title = f"{label[0].upper()}{label[1:]}: most at layer {top['layer']}, {size} pixels ({value})"
    caption = "" if share else "Logarithmic axis. "
    return drawing(name, title, f"{caption}Vertical lines: 95 % intervals.", 2.6, draw)
