"""How figures get onto the page: SVG inside the HTML, in the page's own colours and letters.

A figure is drawn once, in the light theme's colours; those are then replaced by the page's CSS
variables, so that one drawing serves light, dark and print. Width and letters are chosen for a
phone: on a wide screen the same drawing grows.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

Rows = Sequence[Mapping[str, Any]]
Tables = Mapping[str, pd.DataFrame]

WIDTH = 4.2  # inches: on a phone's page the letters then have their nominal size or more

INK, MUTED, GRID = "#1b1f24", "#5b6570", "#d9dee3"
SINK, NONSINK, BOTH = "#d55e00", "#0072b2", "#009e73"
# Colour-blind readers tell these apart, and marker or line style says the same once more.
SERIES = ("#1b1f24", "#a6428c", "#a87900", "#5b6570", "#0072b2", "#d55e00")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", ":", "-.")
SOURCES = {  # tokens that an analysis compares: colour, marker, line, name
    "sink": (SINK, "o", "-", "sinks"),
    "random-matched": (MUTED, "s", "--", "as many random nonsinks"),
    "nonsinks": (NONSINK, "^", "-.", "all nonsinks"),
    "place": (BOTH, "D", ":", "nonsinks at the place"),
    "class": (INK, "v", ":", "class token"),
}
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    SINK: "--sink",
    NONSINK: "--nonsink",
    BOTH: "--both",
    "#a6428c": "--purple",
    "#a87900": "--gold",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of groups and variants are data
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.columnspacing": 1,
    "legend.handletextpad": 0.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
}


@dataclass(frozen=True)
class Drawing:
    """A figure as it stands on the page.

    Attributes:
        title: what it shows, in words that the data chose.
        caption: what the marks and intervals are, and of how many.
        svg: the picture.
    """

    title: str
    caption: str
    svg: Markup


def drawing(
    name: str, title: str, caption: str, height: float, draw: Callable[[Axes], None]
) -> Drawing:
    """Draw one pair of axes and make it part of the page.

    Args:
        name: unique on the page; SVG's inner names start with it.
        title: what the figure shows.
        caption: what its marks are.
        height: in inches.
        draw: draws on the axes.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return Drawing(title, caption, _inline(file.getvalue(), name, title))


def standalone(drawing: Drawing) -> str:
    """The picture as a file of its own, which has no page: in the light theme's colours, on white.

    The title and the caption are the file's, as SVG has them.
    """
    svg = str(drawing.svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(f"var({variable})", colour)
    svg = svg.replace("var(--font)", "'DejaVu Sans', sans-serif")
    start = svg.index(">") + 1
    said = (
        f"<title>{Markup.escape(drawing.title)}</title><desc>{Markup.escape(drawing.caption)}</desc>"
        '<rect width="100%" height="100%" fill="#ffffff"/>'
    )
    return f"{svg[:start]}{said}{svg[start:]}"


def legend_above(axes: Axes, ncols: int = 2) -> None:
    """Put the legend over the axes, where no mark can be behind it."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=ncols)


def logarithmic(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers at 1, 2, 5, 10, ..."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def draw_line(
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
    """A line of ``key`` over ``at``, with its intervals; both are multiplied by ``scale``."""
    for row in rows:
        ends = [scale * row["low"], scale * row["high"]]
        axes.plot([row[at], row[at]], ends, color=colour, linewidth=1.4)
    axes.plot(
        [row[at] for row in rows], [scale * row[key] for row in rows], marker, color=colour,
        markersize=4.5, linestyle=line, linewidth=0.9, label=label,
    )  # fmt: skip


def _inline(svg: str, name: str, title: str) -> Markup:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\g<1>#{name}-", svg)
    svg = re.sub(r'font(-family)?: ([^;"]*?)\'DejaVu Sans\'[^;"]*', r"font\1: \2var(--font)", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    opening = f'<svg role="img" aria-label="{Markup.escape(title)}" '
    # Markup: drawn by matplotlib, which escapes text; the label is escaped above.
    return Markup(opening + svg.removeprefix("<svg "))


def short(name: str, length: int = 24) -> str:
    """A name that leaves room for the figure; the tables have it in full.

    >>> short("dual-reweight"), short("a" * 30, 5)
    ('dual-reweight', 'aaaa…')
    """
    return name if len(name) <= length else f"{name[: length - 1]}…"


def rows_of(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """The rows of a table; none of a table that is missing."""
    if table is None:
        return []
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def level_name(level: float) -> str:
    """As it is written: ``95 %``."""
    return f"{100 * level:g} %"
