"""One encoder at several input sizes: which sinks it has at each, and what changes with the size.

All sizes are measured on the same images under the same bootstrap draws, so that differences
between sizes are paired. Numbers are of one layer for norms and one for attention, the same at all
sizes: those where the sinks of any size are clearest.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from diysink.census.card import SWEEP, Card, cell
from diysink.census.compare import Row, compare, in_words, paired_error, tested
from diysink.census.metrics import Quantity, Rows
from diysink.census.verdict import ATTENDED

VERSION = 1  # of the card of a sweep
QUANTITIES = {
    one.name: one
    for one in (
        Quantity(
            "images_with_sinks",
            "images with sinks",
            "Share of images in which the norm of some patch is tau or more, tau of that size. 0: "
            "norms do not have a second population.",
            "2510.08510",
            "share",
        ),
        Quantity(
            "norm_ratio",
            "largest norm / median",
            "Mean over images of the largest norm of a patch, over the mean of the medians.",
            "2309.16588",
        ),
        Quantity(
            "sink_places",
            "places of sinks",
            "At how many different places the patch of the largest norm is (exponential of the "
            "entropy of its positions), over the same for random places. Near 1: any place. "
            "A dash: there are no sinks.",
            "Hill (1973)",
        ),
        Quantity(
            "concentration",
            "concentration",
            "Attention that the most attended token receives, over that of the median token.",
        ),
        Quantity(
            "sink_share",
            "attention sink's share",
            "Share of all attention that the most attended token takes. A dash: attention has no "
            f"clear sink ({ATTENDED:g} times the median).",
            "",
            "share",
        ),
    )
}
"""Every number of a sweep."""
OF_ATTENTION = ("concentration", "sink_share")
BY_LAYER = ("norm_ratio", "images_with_sinks", "concentration")


def sweep_of(cards: Mapping[int, Card]) -> Card:
    """The card of a sweep.

    Args:
        cards: of one encoder and the same images, by side of the images in pixels.

    Raises:
        ValueError: fewer than two sizes.
    """
    if len(cards) < 2:
        raise ValueError(f"A sweep needs two sizes or more; {len(cards)} was given.")
    cards = dict(sorted(cards.items()))
    every = {size: values_of(card) for size, card in cards.items()}
    places = {
        "norms": clearest(every, "norm_ratio", "images_with_sinks"),
        "attention": clearest(every, "concentration", "sink_share"),
    }
    rows = {
        size: {
            name: values[name][places["attention" if name in OF_ATTENTION else "norms"]]
            for name in QUANTITIES
        }
        for size, values in every.items()
    }
    layers = [one["layer"] for one in next(iter(cards.values())).plain["layers"]]
    own, images = ("pixels", "grid"), int(_first(cards).plain["images"]["count"])
    plain = {
        "kind": SWEEP,
        "version": VERSION,
        "model": {k: v for k, v in _first(cards).plain["model"].items() if k not in own},
        "images": _first(cards).plain["images"],
        "software": _first(cards).plain["software"],
        "layers": {name: layers[place] for name, place in places.items()},
        "sizes": [
            {
                "size": size,
                **{key: card.plain["model"][key] for key in own},
                "types": [one["type"] for one in card.plain["verdict"]["types"]],
                "onset": card.plain["verdict"]["onset"],
                "last": card.plain["verdict"]["last"],
                "metrics": {
                    name: cell(found, QUANTITIES[name], images)
                    for name, found in rows[size].items()
                },
                "layers": [
                    {
                        "layer": layer,
                        "metrics": {
                            name: cell(every[size][name][place], QUANTITIES[name], images)
                            for name in BY_LAYER
                        },
                    }
                    for place, layer in enumerate(layers)
                ],
            }
            for size, card in cards.items()
        ],
    }
    plain["differences"] = differences(cards, rows)
    plain["verdict"] = {"lines": sentences(plain)}
    return Card(plain, {name: np.stack([rows[s][name] for s in rows]) for name in QUANTITIES})


def values_of(card: Card) -> dict[str, np.ndarray]:
    """Every number of a sweep at every layer of a census, with its replicates."""
    found = card.replicates
    nothing = np.full_like(found["norm_max"], np.nan)
    credible = [_type(card, one["layer"]) for one in card.plain["layers"]]
    attended = [_low(one["metrics"].get("concentration")) >= ATTENDED for one in
                card.plain["layers"]]  # fmt: skip
    there, clear = np.array(credible)[:, None], np.array(attended)[:, None]
    places = found.get("largest_norm_places", nothing)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = found["norm_max"] / found["norm_median"]
    return {
        "images_with_sinks": np.where(there, found["images_with_sinks"], 0.0),
        "norm_ratio": ratio,
        "sink_places": np.where(there, places, np.nan),
        "concentration": found.get("concentration", nothing),
        "sink_share": np.where(clear, found.get("top_share", nothing), np.nan),
    }


def clearest(every: Mapping[int, Mapping[str, np.ndarray]], name: str, sinks: str) -> int:
    """The place of the layer where a number is largest at any size, where there are sinks at all.

    Args:
        every: of each size the numbers by layer.
        name: of the number.
        sinks: of a number that is above 0 where there are sinks.
    """
    values = np.stack([found[name][:, 0] for found in every.values()])
    with_sinks = np.stack([found[sinks][:, 0] > 0 for found in every.values()])
    values = np.nan_to_num(values, nan=-np.inf)
    if with_sinks.any():
        values = np.where(with_sinks, values, -np.inf)
    return int(values.max(0).argmax())


def differences(
    cards: Mapping[int, Card], rows: Mapping[int, Mapping[str, Rows]]
) -> list[dict[str, Any]]:
    """Each size less the one before it; Holm's correction is over all of them.

    ``of`` and ``differ`` count all numbers of all layers, as `diysink.census.compare` does.
    """
    table = tested(_rows(rows))
    found = []
    for first, second in pairwise(cards):
        whole = compare(cards[first], cards[second])
        own = table[table["part"] == f"{first} to {second}"]
        found.append(
            {
                "first": first,
                "second": second,
                "paired": whole.paired,
                "metrics": {str(row["metric"]): _told(row) for _, row in own.iterrows()},
                "of": len(whole.table),
                "differ": int(whole.table["differs"].sum()),
            }
        )
    return found


def _rows(rows: Mapping[int, Mapping[str, Rows]]) -> Iterator[Row]:
    for first, second in pairwise(rows):
        for name in QUANTITIES:
            # As the card tells them: what differs in its last digits alone is the same.
            one, other = (cell(rows[size][name]) for size in (first, second))
            if one is None or other is None:
                continue
            values = one["value"], other["value"], other["value"] - one["value"]
            error = paired_error(rows[first][name], rows[second][name])
            yield f"{first} to {second}", None, name, *values, error


def _told(row: "pd.Series[Any]") -> dict[str, Any]:
    numbers = ("first", "second", "difference", "low", "high", "p_holm")
    told: dict[str, Any] = {
        name: float(f"{row[name]:.6g}") if np.isfinite(row[name]) else None for name in numbers
    }
    return told | {"differs": bool(row["differs"])}


def sentences(plain: Mapping[str, Any]) -> list[str]:
    """The types at every size, then what differs between neighbouring sizes."""
    types = {one["size"]: ", ".join(one["types"]) for one in plain["sizes"]}
    if len(set(types.values())) == 1:
        *others, last = map(str, types)
        sizes = f"{', '.join(others)} and {last} pixels"
        lines = [f"The type of sinks is the same at {sizes}: {next(iter(types.values()))}."]
    else:
        each = "; ".join(f"{size} pixels: {said}" for size, said in types.items())
        lines = [f"The type of sinks changes with the size. {each}."]
    layers = plain["layers"]
    for one in plain["differences"]:
        told = [
            f"{QUANTITIES[name].label} {in_words(found)}"
            for name, found in one["metrics"].items()
            if found["differs"]
        ]
        between = f"From {one['first']} to {one['second']} pixels"
        if told:
            where = f"(norms at layer {layers['norms']}, attention at {layers['attention']})"
            lines.append(f"{between} {where}: {'; '.join(told)}.")
        else:
            lines.append(f"{between} none of these numbers differs.")
    return lines


def _type(card: Card, layer: int) -> bool:
    """Whether the norms of this layer have a second population that is credible."""
    return any(
        layer in one["layers"]
        for one in card.plain["verdict"]["types"]
        if one["type"] not in ("none", "attention only")
    )


def _low(found: Mapping[str, float] | None) -> float:
    return 0.0 if found is None else found["low"]


def _first(cards: Mapping[int, Card]) -> Card:
    return next(iter(cards.values()))
