"""Two cards side by side: what differs, with intervals."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from diysink.census.card import Card
from diysink.resampling import holm

PARTS = ("encoder", "language")
SURE = 0.05  # a difference is told where its p, corrected for all of them (Holm), is below


@dataclass(frozen=True)
class Comparison:
    """The second card less the first.

    Attributes:
        table: one row a layer and value: ``part`` (encoder or language), ``layer, metric, first,
            second, difference, error, low, high, p_holm, differs``.
        paired: whether both were measured on the same images, so that images cancel out.
        about: what differs between models, images and settings: key to both values.
    """

    table: pd.DataFrame
    paired: bool
    about: dict[str, tuple[object, object]]

    @property
    def lines(self) -> list[str]:
        """In words: what was compared, how much differs, and where most."""
        told = self.table[self.table["differs"]]
        how = "the same images" if self.paired else "different images, or no replicates"
        lines = [
            f"{len(told)} of {len(self.table)} values differ (p < {SURE} after Holm's correction; "
            f"{how})."
        ]
        for (part, metric), rows in told.groupby(["part", "metric"], sort=False):
            largest = rows.iloc[int((rows["difference"] / rows["error"]).abs().argmax())]
            lines.append(
                f"{part}, {metric}: at {len(rows)} layers; at layer {largest['layer']} "
                f"{largest['first']:.4g} becomes {largest['second']:.4g} "
                f"({largest['difference']:+.3g} [{largest['low']:+.3g}, {largest['high']:+.3g}])"
            )
        return lines


def compare(first: Card, second: Card) -> Comparison:
    """What differs between two censuses.

    Of the same images the bootstrap replicates are the same draws, and their differences give the
    interval; otherwise both are taken as independent.

    Raises:
        ValueError: the cards have other layers.
    """
    layers = [[one["layer"] for one in card.plain["layers"]] for card in (first, second)]
    if layers[0] != layers[1]:
        raise ValueError(
            f"The first card has layers {layers[0]} and the second {layers[1]}: models of the same "
            "number of layers can be compared, with the same choice of layers."
        )
    same = ("digest", "replicates", "seed")
    images = [tuple(card.plain["images"][key] for key in same) for card in (first, second)]
    paired = images[0] == images[1] and bool(first.replicates and second.replicates)
    rows = [
        (part, layer, metric, *values)
        for part in PARTS
        for layer, metric, values in _values(first, second, part, paired)
    ]
    table = pd.DataFrame(
        rows, columns=["part", "layer", "metric", "first", "second", "difference", "error"]
    )
    reach = norm.ppf(0.975) * table["error"]
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * norm.sf(np.abs(table["difference"] / table["error"]))
    p = np.where(table["error"] > 0, p, np.where(table["difference"] == 0, 1.0, 0.0))
    table = table.assign(
        low=table["difference"] - reach, high=table["difference"] + reach, p_holm=holm(list(p))
    )
    table["differs"] = table["p_holm"] < SURE
    return Comparison(table, paired, _about(first, second))


def _values(
    first: Card, second: Card, part: str, paired: bool
) -> Iterator[tuple[int, str, tuple[float, float, float, float]]]:
    """Of each layer and metric that both cards have: both values, difference and its error.

    Of two language models the layers are compared where there are as many in both.
    """
    ones, others = (layers_of(card, part) for card in (first, second))
    if len(ones) != len(others):
        return
    for place, (one, other) in enumerate(zip(ones, others, strict=True)):
        for metric, cell in one["metrics"].items():
            against = other["metrics"].get(metric)
            if cell is None or against is None:
                continue
            key = metric if part == "encoder" else f"{part}/{metric}"
            if paired and key in first.replicates and key in second.replicates:
                drawn = second.replicates[key][place, 1:] - first.replicates[key][place, 1:]
                error = float(np.nanstd(drawn, ddof=1))
            else:
                error = math.hypot(_error(cell), _error(against))
            values = cell["value"], against["value"], against["value"] - cell["value"], error
            yield one["layer"], metric, values


def layers_of(card: Card, part: str) -> list[dict[str, Any]]:
    """The layers of the encoder, or of the language model; none where it was not measured."""
    if part == "encoder":
        return list(card.plain["layers"])
    return list((card.plain.get("language") or {}).get("layers", ()))


def _error(cell: dict[str, float]) -> float:
    return (cell["high"] - cell["low"]) / (2 * float(norm.ppf(0.975)))


def _about(first: Card, second: Card) -> dict[str, tuple[object, object]]:
    found: dict[str, tuple[object, object]] = {}
    for part in ("model", "images", "software"):
        one, other = first.plain[part], second.plain[part]
        for key in one.keys() | other.keys():
            if one.get(key) != other.get(key):
                found[f"{part}.{key}"] = (one.get(key), other.get(key))
    return dict(sorted(found.items()))
