"""The page of a census: the sinks of a vision encoder at every layer, in one HTML file.

The file needs no network and works from a disk. All text of the card and of the examples is data to
the template, which escapes it. A content security policy lets the page run its own script alone
(by its digest) and ask for nothing outside itself. Without a script the verdict, the lines over the
layers and the table can be read; the maps need it.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, FunctionLoader, StrictUndefined
from matplotlib.colors import to_hex

from diysink.artifact import atomic_path
from diysink.census.examples import Example
from diysink.census.language import section
from diysink.census.metrics import Quantity
from diysink.census.packing import pack_example
from diysink.census.quantities import ROLLOUT, SINKS, TYPES, names_in, quantity_of
from diysink.census.trajectories import draw_trajectories

VERSION = 1  # of the card
_STOPS = 33  # of the colour scale, between which the page mixes


def write_page(card: Mapping[str, Any], examples: Sequence[Example], path: Path) -> None:
    """Write the page; the file is whole or it is not there.

    Args:
        card: plain JSON: ``version`` (1), ``model``, ``images``, ``verdict`` and ``layers`` (one
            for each layer from 0, each with ``layer`` and ``metrics``). A metric is null or has
            ``value``, ``low`` and ``high``. The page offers the card as a file.
        examples: images to look at, each with all layers of the card; may be empty.
        path: of the HTML file.

    Raises:
        ValueError: the card is of another version or holds NaN; or an example does not have the
            layers or heads of the card.
    """
    text = render(card, examples)
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")


def render(card: Mapping[str, Any], examples: Sequence[Example]) -> str:
    """The page as text. Arguments and errors are those of `write_page`."""
    _check(card, examples)
    names = names_in(card["layers"])
    data = json.dumps(card, ensure_ascii=False, allow_nan=False, indent=1).encode()
    script = "".join(_ours(name) for name in ("maps.js", "page.js"))
    template = environment().get_template("page.html.jinja")
    return template.render(
        card=card,
        css=house_style(),
        script=script,
        script_digest=encoded(hashlib.sha256(script.encode()).digest()),
        download=encoded(data),
        file_name=file_name_of("census", card["model"]["name"]),
        quantities=[quantity_of(name) for name in names],
        types=TYPES,
        drawings=draw_trajectories(card),
        language=section(card),
        facts=_facts(card),
        examples=[pack_example(example) for example in examples],
        names=[example.name for example in examples],
        sources={"sinks": SINKS, "rollout": ROLLOUT},
    )


def _check(card: Mapping[str, Any], examples: Sequence[Example]) -> None:
    if card["version"] != VERSION:
        raise ValueError(f"The card has version {card['version']}; this code shows {VERSION}.")
    numbers = [layer["layer"] for layer in card["layers"]]
    if not numbers or numbers[0] != 0 or any(b != a + 1 for a, b in pairwise(numbers)):
        raise ValueError(f"The layers of the card are {numbers}; expected 0, 1, 2, ...")
    expected = len(numbers), card["model"]["heads"]
    for example in examples:
        if (example.layers, example.heads) != expected:
            raise ValueError(
                f"{example.name} has {example.layers} layers and {example.heads} heads; the card "
                f"has {expected[0]} layers (with layer 0) and {expected[1]} heads."
            )


def _facts(card: Mapping[str, Any]) -> dict[str, Any]:
    """What the script needs besides the examples."""
    tau = [layer["metrics"].get("tau") for layer in card["layers"]]
    types = card["verdict"]["types"]
    shown = [one["layers"] for one in types if one["type"] != "none" and one["layers"]]
    return {
        "tau": [one and one["value"] for one in tau],
        "patch": card["model"]["patch"] or [1, 1],  # only their ratio is used
        "heads": card["model"]["heads"],
        # The first look is at a layer that has what the verdict is about.
        "start": max(shown[0]) if shown else card["layers"][-1]["layer"],
        "colours": [to_hex(mpl.colormaps["viridis"](i / (_STOPS - 1))) for i in range(_STOPS)],
    }


def number(value: float | int | None) -> str:
    """A number with three digits; a dash where there is none.

    >>> number(0.12345), number(1234.5), number(None)
    ('0.123', '1,234', '–')
    """
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def layer_ranges(layers: Sequence[int]) -> str:
    """Layers in words, neighbours together.

    >>> layer_ranges([3, 4, 5, 8]), layer_ranges([2]), layer_ranges([])
    ('layers 3–5, 8', 'layer 2', 'no layer')
    """
    if not layers:
        return "no layer"
    parts: list[list[int]] = []
    for layer in sorted(set(layers)):
        if parts and layer == parts[-1][-1] + 1:
            parts[-1].append(layer)
        else:
            parts.append([layer])
    texts = [f"{part[0]}–{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts]
    return f"{'layer' if len(layers) == 1 else 'layers'} {', '.join(texts)}"


def metric_cell(metric: Mapping[str, Any], quantity: Quantity) -> dict[str, str]:
    """A cell of a table: the value and its interval, as text."""
    share = quantity.unit == "share"

    def text(value: float | int | None) -> str:
        return (
            f"{100 * value:.0f}\N{NO-BREAK SPACE}%"
            if share and value is not None
            else number(value)
        )

    low, high = metric.get("low"), metric.get("high")
    interval = "" if low is None or high is None else f"[{text(low)}, {text(high)}]"
    return {"value": text(metric["value"]), "interval": interval}


def environment() -> Environment:
    """Of the templates of the census: what they are given is escaped."""
    made = Environment(
        loader=FunctionLoader(_ours),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=number, layers=layer_ranges, metric=metric_cell)
    return made


def house_style() -> str:
    """The style sheet: the report's, and what the census alone has."""
    return (files("diysink") / "report" / "page.css").read_text("utf-8") + _ours("page.css")


def file_name_of(kind: str, model: str) -> str:
    """Of the card as a download, without its ending."""
    return f"{kind}-{re.sub(r'[^A-Za-z0-9.-]+', '-', model).strip('-.')}"


def encoded(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


def _ours(name: str) -> str:
    """A file of this package."""
    return (files("diysink") / "census" / name).read_text("utf-8")
