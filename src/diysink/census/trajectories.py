"""Lines over the layers: how sinks come and go through an encoder, as SVG for the page.

Each drawing has an all but invisible band for each layer, whose id ends in ``layer-K``: the page
marks the current layer with it, and takes a click on it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from diysink.census.quantities import quantity_of
from diysink.drawing import (
    BOTH,
    INK,
    MUTED,
    NONSINK,
    SINK,
    Drawing,
    draw_line,
    drawing,
    legend_above,
    logarithmic,
)

Points = Sequence[Mapping[str, Any]]  # layer, value, low, high
Title = Callable[[Mapping[str, Points]], str]
PURPLE, GOLD = "#a6428c", "#a87900"


@dataclass(frozen=True)
class _Panel:
    """One pair of axes.

    Attributes:
        name: unique on the page.
        lines: metric: colour, marker and line style.
        ylabel: of the axis.
        title: a sentence from the data.
        caption: what to look for.
        log: whether the axis is logarithmic.
        at: a level with a meaning, drawn as a thin line.
    """

    name: str
    lines: Mapping[str, tuple[str, str, str]]
    ylabel: str
    title: Title
    caption: str
    log: bool = False
    at: float | None = None


def draw_trajectories(card: Mapping[str, Any]) -> list[Drawing]:
    """A drawing for each group of metrics that the card has.

    Args:
        card: as `diysink.census.page.write_page` takes it.
    """
    drawings = []
    for panel in _PANELS:
        points = {name: found for name in panel.lines if (found := _points(card, name))}
        if points and any(row["value"] for rows in points.values() for row in rows):
            drawings.append(_draw(panel, points, [layer["layer"] for layer in card["layers"]]))
    return drawings


def _points(card: Mapping[str, Any], name: str) -> Points:
    points = []
    for layer in card["layers"]:
        metric = layer["metrics"].get(name)
        if metric is not None:
            value = metric["value"]
            # An interval that could not be computed is drawn as none.
            ends = [value if metric.get(end) is None else metric[end] for end in ("low", "high")]
            points.append(
                {"layer": layer["layer"], "value": value, "low": ends[0], "high": ends[1]}
            )
    return points


def _draw(panel: _Panel, points: Mapping[str, Points], layers: Sequence[int]) -> Drawing:
    units = {quantity_of(name).unit for name in points}
    scale = 100.0 if units == {"share"} else 1.0

    def draw(axes: Axes) -> None:
        if panel.at is not None:
            axes.axhline(panel.at, color=MUTED, linewidth=1)
        for name, rows in points.items():
            colour, marker, line = panel.lines[name]
            label = quantity_of(name).label
            draw_line(axes, rows, "layer", scale, colour, marker, line, label)
        if panel.log and all(row["value"] > 0 for rows in points.values() for row in rows):
            logarithmic(axes)
        elif scale == 100:
            axes.set_ylim(bottom=0)
        for layer in layers:
            axes.axvspan(layer - 0.5, layer + 0.5, color=MUTED, alpha=0.01, linewidth=0,
                         gid=f"layer-{layer}")  # fmt: skip
        axes.set_xlim(min(layers) - 0.5, max(layers) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="layer", ylabel=panel.ylabel)
        if len(points) > 1:
            legend_above(axes, ncols=2 if len(points) == 4 else len(points))

    return drawing(panel.name, panel.title(points), panel.caption, 2.6, draw)


def _most(rows: Points) -> Mapping[str, Any]:
    return max(rows, key=lambda row: row["value"])


def _norms(points: Mapping[str, Points]) -> str:
    if "norm_max" not in points:
        return "Norms of the patches"
    medians = {row["layer"]: row["value"] for row in points.get("norm_median", ())}
    times = [
        {"layer": row["layer"], "value": row["value"] / medians[row["layer"]]}
        for row in points["norm_max"]
        if medians.get(row["layer"])
    ]
    if not times:
        top = _most(points["norm_max"])
        return f"The largest norm is {top['value']:.3g}, at layer {top['layer']}"
    top = _most(times)
    return f"At layer {top['layer']} the largest norm is {top['value']:.3g} times the median"


def _highest(name: str, sentence: str, fallback: str) -> Title:
    def title(points: Mapping[str, Points]) -> str:
        if name not in points:
            return fallback
        top = _most(points[name])
        return sentence.format(layer=top["layer"], value=top["value"], share=100 * top["value"])

    return title


def _receivers(points: Mapping[str, Points]) -> str:
    means = {name: sum(r["value"] for r in rows) / len(rows) for name, rows in points.items()}
    name = max(means, key=lambda name: means[name])
    words = {"received_class": "the class token", "received_register": "a register token"}
    return (
        f"Most often {words.get(name, 'a patch')} receives the most attention: in "
        f"{100 * means[name]:.0f}\N{NO-BREAK SPACE}% of heads and images, mean of layers"
    )


def _sameness(points: Mapping[str, Points]) -> str:
    if "same_sinks" not in points:
        return "How alike tokens of different images are"
    top = _most(points["same_sinks"])
    others = [r for r in points.get("same_others", ()) if r["layer"] == top["layer"]]
    beside = f"; other patches {others[0]['value']:.2f}" if others else ""
    return (
        f"At layer {top['layer']} the largest-norm patches of two images have a cosine of "
        f"{top['value']:.2f}{beside}"
    )


_PANELS = (
    _Panel(
        "norms",
        {
            "norm_max": (SINK, "o", "-"),
            "norm_p99": (GOLD, "s", "--"),
            "norm_median": (NONSINK, "^", "-"),
            "tau": (MUTED, "v", ":"),
        },
        "L2 norm",
        _norms,
        "Logarithmic axis. Where the largest norm leaves the median behind, sinks appear.",
        log=True,
    ),
    _Panel(
        "sinks",
        {"sinks_per_image": (SINK, "o", "-")},
        "sinks per image",
        _highest(
            "sinks_per_image",
            "Most sinks are at layer {layer}: {value:.2g} per image",
            "Sinks per image",
        ),
        "Patches with a norm of tau or more.",
    ),
    _Panel(
        "concentration",
        {"concentration": (PURPLE, "s", "-"), "spike": (GOLD, "D", "--")},
        "ratio",
        _highest(
            "concentration",
            "At layer {layer} one token receives {value:.3g} times the attention of the median one",
            "Massive activations",
        ),
        "Logarithmic axis. 1: attention is even.",
        log=True,
    ),
    _Panel(
        "receivers",
        {
            "received_class": (INK, "v", ":"),
            "received_register": (BOTH, "D", "--"),
            "received_patch": (SINK, "o", "-"),
        },
        "heads and images (%)",
        _receivers,
        "Which token receives the most attention.",
    ),
    _Panel(
        "heads",
        {"event": (INK, "o", "-"), "nop": (NONSINK, "s", "--"), "broadcast": (SINK, "^", ":")},
        "heads and images (%)",
        _highest(
            "event",
            "Sink events are most frequent at layer {layer}: in "
            "{share:.0f}\N{NO-BREAK SPACE}% of heads and images",
            "What heads do at sinks",
        ),
        "Sink event: nearly all tokens give half of their attention to one. NOP: the head then "
        "adds nearly nothing. Broadcast: it adds the same to all.",
    ),
    _Panel(
        "values",
        {"value_ratio": (SINK, "o", "-"), "stable_rank": (NONSINK, "s", "--")},
        "ratio; rank",
        _highest(
            "value_ratio",
            "A sink adds most at layer {layer}: {value:.2g} times as much as another token",
            "Stable rank of what heads add",
        ),
        "Value ratio near 0: the sink adds nothing. Stable rank near 1: it adds one vector to all.",
        at=1.0,
    ),
    _Panel(
        "sameness",
        {"same_sinks": (SINK, "o", "-"), "same_others": (NONSINK, "^", "--")},
        "mean cosine across images",
        _sameness,
        "Largest norm near 1: it is the same vector in every image.",
    ),
    _Panel(
        "places",
        {"largest_norm_places": (BOTH, "D", "-"), "largest_norm_contrast": (PURPLE, "s", "--")},
        "ratio",
        lambda _: "Where the largest-norm patch is: at which places, and on how much contrast",
        "Places near 1: any place; near 0: fixed places. Contrast below 1: plain background.",
        at=1.0,
    ),
)
