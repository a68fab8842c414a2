"""The language part of a card: its numbers in words, and its section of the page.

`diysink.inspection` measures them. Here they are only shown, so that a card can be read and drawn
by whoever has the file.
"""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from diysink.census.metrics import Quantity
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

VERSION = 1  # of the language part
_SPIKE = "2609.32808"
_ASKED = {"last": "the prompt's last token", "text": "the text after the image"}
_KINDS = {
    "sinks": "V-sinks",
    "others": "other visual tokens",
    "lsinks": "L-sinks",
    "first": "first token",
    "random": "random visual tokens",
}
_MARKS = {
    "sinks": (SINK, "o", "-"),
    "others": (NONSINK, "s", "--"),
    "lsinks": (BOTH, "^", "-."),
    "first": (INK, "v", ":"),
}


def _of_query(query: str) -> list[Quantity]:
    said = _ASKED[query]
    each = [
        Quantity(
            f"{query}_{kind}",
            f"{label} ({query})",
            f"Attention of {said} to {'the' if kind == 'first' else 'one of the'} {label}, over an "
            "even share among all tokens that it sees. 1: even.",
        )
        for kind, label in _KINDS.items()
    ]
    return [
        *each,
        Quantity(
            f"{query}_ratio",
            f"V-sink / other ({query})",
            f"Attention of {said} to a V-sink, over that to another visual token. Above 1: "
            "V-sinks are looked at.",
            "2510.08510",
        ),
        Quantity(
            f"{query}_ratio_random",
            f"random / other ({query})",
            "The control: as many random visual tokens in place of the V-sinks. About 1.",
        ),
        Quantity(
            f"{query}_image",
            f"to the image ({query})",
            f"Share of the attention of {said} that goes to visual tokens.",
            unit="share",
        ),
        Quantity(
            f"{query}_taken",
            f"to V-sinks ({query})",
            f"Share of the attention of {said} that goes to V-sinks.",
            unit="share",
        ),
    ]


QUANTITIES: Mapping[str, Quantity] = {
    one.name: one
    for one in (
        Quantity("visual_tokens", "visual tokens", "How many an image has."),
        Quantity("sinks_per_image", "V-sinks", "How many visual tokens of an image are V-sinks."),
        Quantity(
            "encoder_norm_ratio",
            "norm before the connector",
            "Mean norm of V-sinks over the median of the other visual tokens.",
        ),
        Quantity("connector_norm_ratio", "norm after the connector", "The same after it."),
        Quantity(
            "connector_cosine",
            "cosine among V-sinks",
            "Mean cosine of two V-sinks of an image after the connector. Near 1: one vector.",
        ),
        Quantity("connector_cosine_random", "cosine among random", "Of as many random others."),
        *_of_query("last"),
        *_of_query("text"),
        Quantity(
            "lsinks_per_image",
            "L-sinks",
            "Visual tokens that are no V-sinks and are massive in what enters the layer.",
            "2510.08510",
        ),
        Quantity(
            "sinks_massive", "massive V-sinks", "Share of V-sinks that are massive.", unit="share"
        ),
        Quantity(
            "massive_dimensions",
            "massive dimensions",
            "How many dimensions are massive in an image's V-sinks after the connector.",
            _SPIKE,
        ),
        Quantity("with_massive", "images with them", "Share of images with any.", unit="share"),
        Quantity(
            "same_answers",
            "answers without them",
            "Share of greedy answers that stay the same when these dimensions of V-sinks are set "
            "to the mean of the other visual tokens.",
            _SPIKE,
            "share",
        ),
        Quantity(
            "same_answers_random",
            "answers without random ones",
            "The control: as many random dimensions.",
            unit="share",
        ),
    )
}
"""Every number of the language part."""


def section(card: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the page shows of the language part; None: the card has none.

    Raises:
        ValueError: a language part of another version.
    """
    part = card.get("language")
    if part is None:
        return None
    if part["version"] != VERSION:
        raise ValueError(
            f"The language part has version {part['version']}; this code shows {VERSION}."
        )
    if part.get("lacks"):
        return {"lacks": part["lacks"]}
    short = part["connector"] | part["overall"] | (part["answers"] or {})
    names = [name for name in QUANTITIES if any(one["metrics"].get(name) for one in part["layers"])]
    return {
        "lacks": None,
        "part": part,
        "short": [(QUANTITIES[name], short[name]) for name in QUANTITIES if short.get(name)],
        "names": [QUANTITIES[name] for name in names],
        "drawings": [made for query in _ASKED if (made := _drawing(part, query)) is not None],
    }


def _drawing(part: Mapping[str, Any], query: str) -> Drawing | None:
    lines = {}
    for kind in _MARKS:
        cells = [(one["layer"], one["metrics"].get(f"{query}_{kind}")) for one in part["layers"]]
        rows = [_row(layer, cell) for layer, cell in cells if cell and cell["value"] > 0]
        if rows:
            lines[kind] = rows
    if "sinks" not in lines:
        return None

    def draw(axes: Axes) -> None:
        axes.axhline(1, color=MUTED, linewidth=1)
        for kind, rows in lines.items():
            colour, marker, line = _MARKS[kind]
            draw_line(axes, rows, "layer", 1.0, colour, marker, line, _KINDS[kind])
        logarithmic(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="layer of the language model", ylabel="attention over an even share")
        legend_above(axes, ncols=2)

    top = max(lines["sinks"], key=lambda row: row["value"])
    title = (
        f"At layer {top['layer']} {_ASKED[query]} gives a V-sink {top['value']:.3g} times an even "
        "share"
    )
    caption = "Logarithmic axis. 1: an even share. Vertical lines: 95 % intervals over images."
    return drawing(f"flow-{query}", title, caption, 2.6, draw)


def _row(layer: int, cell: Mapping[str, Any]) -> dict[str, Any]:
    """A point. An interval that could not be computed is drawn as none."""
    ends = {end: cell["value"] if cell[end] is None else cell[end] for end in ("low", "high")}
    return {"layer": layer, "value": cell["value"], **ends}
