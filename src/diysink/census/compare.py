"""Two cards side by side: what differs, with intervals."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from diysink.census.card import Card
from diysink.census.metrics import Rows
from diysink.resampling import holm

WHOLE = {
    "connector": ("connector", ""),
    "answers": ("answers", ""),
    "overall": ("language, mean of layers", "/mean"),
}
"""Of the language part, numbers that are not of one layer: name in the table, end of the key of
their replicates."""
SURE = 0.05  # a difference is told where its p, corrected for all of them (Holm), is below
Cells = Mapping[str, Mapping[str, float | None] | None]
Layers = Sequence[Mapping[str, Any]]
Row = tuple[str, int | None, str, float, float, float, float]


@dataclass(frozen=True)
class Comparison:
    """The second card less the first.

    Attributes:
        table: one row a layer and value: ``part`` (encoder, language, connector, answers; of
            sweeps: the size), ``layer`` (missing where a number is not of one layer), ``metric,
            first, second, difference, error, low, high, p_holm, differs``.
        paired: whether both were measured on the same images, so that images cancel out.
        about: what differs between models, images and settings: key to both values.
        left_out: what was not compared, and why.
    """

    table: pd.DataFrame
    paired: bool
    about: dict[str, tuple[object, object]]
    left_out: tuple[str, ...] = ()

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
            where = (
                ""
                if pd.isna(largest["layer"])
                else f"at {len(rows)} layers; at layer {largest['layer']} "
            )
            lines.append(f"{part}, {metric}: {where}{in_words(largest)}")
        return [*lines, *self.left_out]


def in_words(row: "Mapping[str, Any] | pd.Series[Any]") -> str:
    """A row of a comparison: both values, and their difference with its interval."""
    return (
        f"{row['first']:.4g} becomes {row['second']:.4g} "
        f"({row['difference']:+.3g} [{row['low']:+.3g}, {row['high']:+.3g}])"
    )


def compare(first: Card, second: Card) -> Comparison:
    """What differs between two censuses, or between two sweeps at the sizes that both have.

    Of the same images the bootstrap replicates are the same draws, and their differences give the
    interval; otherwise both are taken as independent.

    Raises:
        ValueError: the cards have other layers, or no size in common; or one is a sweep.
    """
    if first.is_sweep != second.is_sweep:
        raise ValueError(
            "One card is a sweep over sizes and the other of one size: compare two sweeps, or give "
            "the sub-folder of one size."
        )
    paired, left_out = are_paired(first, second), list[str]()
    if first.is_sweep:
        rows = list(_of_sweeps(first, second, paired))
    else:
        rows = [
            *_of_encoders(first, second, paired, left_out),
            *_of_language(first, second, paired, left_out),
        ]
    return Comparison(tested(rows), paired, _about(first, second), tuple(left_out))


def are_paired(first: Card, second: Card) -> bool:
    """Whether both are of the same images, with the same draws."""
    same = ("digest", "replicates", "seed")
    images = [tuple(card.plain["images"][key] for key in same) for card in (first, second)]
    return images[0] == images[1] and bool(first.replicates and second.replicates)


def tested(rows: Iterable[Row]) -> pd.DataFrame:
    """The rows with intervals of the difference, and p corrected for all of them (Holm)."""
    table = pd.DataFrame(
        list(rows), columns=["part", "layer", "metric", "first", "second", "difference", "error"]
    ).astype({"layer": "Int64"})
    reach = norm.ppf(0.975) * table["error"]
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * norm.sf(np.abs(table["difference"] / table["error"]))
    # Without an error a difference is certain; where the error is not known, it may be nothing.
    certain = (table["error"] == 0) & (table["difference"] != 0)
    p = np.where(table["error"] > 0, p, np.where(certain, 0.0, 1.0))
    table = table.assign(
        low=table["difference"] - reach, high=table["difference"] + reach, p_holm=holm(list(p))
    )
    table["differs"] = table["p_holm"] < SURE
    return table


def _of_encoders(first: Card, second: Card, paired: bool, left_out: list[str]) -> Iterator[Row]:
    """Every layer of the encoder.

    Raises:
        ValueError: the cards have other layers, and no language part that could be compared.
    """
    each = [card.plain["layers"] for card in (first, second)]
    layers = [[one["layer"] for one in found] for found in each]
    if layers[0] == layers[1]:
        yield from _by_layer("encoder", each[0], each[1], (first, second), paired)
        return
    said = f"The first card has layers {layers[0]} and the second {layers[1]}"
    if not all(_language(card) for card in (first, second)):
        raise ValueError(
            f"{said}: models of the same number of layers can be compared, with the same choice of "
            "layers."
        )
    left_out.append(f"{said}: the encoders are not compared.")


def _of_language(first: Card, second: Card, paired: bool, left_out: list[str]) -> Iterator[Row]:
    """The language parts: numbers of the whole model, and every layer where both have as many."""
    one, other = _language(first), _language(second)
    if not (one and other):
        return
    paired = paired and one["images"]["digest"] == other["images"]["digest"]
    for name, (part, end) in WHOLE.items():
        drawn = [_at(card, "language/", 0, paired, end) for card in (first, second)]
        yield from _differences(part, None, one[name] or {}, other[name] or {}, drawn)
    if len(one["layers"]) == len(other["layers"]):
        yield from _by_layer("language", one["layers"], other["layers"], (first, second), paired)
    else:
        left_out.append(
            f"The language models have {len(one['layers'])} and {len(other['layers'])} layers: "
            "single layers are not compared."
        )


def _by_layer(
    part: str, one: Layers, other: Layers, cards: tuple[Card, Card], paired: bool
) -> Iterator[Row]:
    start = "" if part == "encoder" else f"{part}/"
    for place, (layer, against) in enumerate(zip(one, other, strict=True)):
        drawn = [_at(card, start, place, paired) for card in cards]
        yield from _differences(part, layer["layer"], layer["metrics"], against["metrics"], drawn)


def _language(card: Card) -> dict[str, Any] | None:
    """The language part; None where it was not measured."""
    part: dict[str, Any] | None = card.plain.get("language")
    return None if part is None or part.get("lacks") else part


def _of_sweeps(first: Card, second: Card, paired: bool) -> Iterator[Row]:
    """At each size; and, of patches of two sizes, at each grid.

    Raises:
        ValueError: nothing is common.
    """
    keys = ["pixels"] + ["grid"] * (first.plain["model"]["patch"] != second.plain["model"]["patch"])
    met = 0
    for key in keys:
        for place, one in enumerate(first.plain["sizes"]):
            for other_place, other in enumerate(second.plain["sizes"]):
                if one[key] != other[key]:
                    continue
                met += 1
                drawn = [
                    _at(first, "", place, paired),
                    _at(second, "", other_place, paired),
                ]
                rows, columns = one[key]
                part = f"{rows} x {columns} {'pixels' if key == 'pixels' else 'patches'}"
                yield from _differences(part, None, one["metrics"], other["metrics"], drawn)
    if not met:
        sizes = [[one["size"] for one in card.plain["sizes"]] for card in (first, second)]
        raise ValueError(
            f"The first sweep has sizes {sizes[0]} and the second {sizes[1]}: none is common, nor "
            "is a grid of patches."
        )


def _at(card: Card, start: str, place: int, paired: bool, end: str = "") -> Mapping[str, Rows]:
    """The replicates of one place by metric; none where they are not used."""
    if not paired:
        return {}
    return {
        key.removeprefix(start).removesuffix(end): rows[place]
        for key, rows in card.replicates.items()
        if key.startswith(start) and key.endswith(end) and place < len(rows)
    }


def _differences(
    part: str, layer: int | None, one: Cells, other: Cells, drawn: list[Mapping[str, Rows]]
) -> Iterator[Row]:
    """Of each metric that both have: both values, difference and its error."""
    for metric, cell in one.items():
        against = other.get(metric)
        if cell is None or against is None:
            continue
        first, second = (float(found["value"] or 0) for found in (cell, against))
        if all(metric in rows for rows in drawn):
            error = paired_error(drawn[0][metric], drawn[1][metric])
        else:
            error = math.hypot(_error(cell), _error(against))
        yield part, layer, metric, first, second, second - first, error


def paired_error(first: Rows, second: Rows) -> float:
    """Standard error of the difference, from replicates of the same draws."""
    drawn = (second - first)[1:]
    drawn = drawn[np.isfinite(drawn)]
    return float(drawn.std(ddof=1)) if drawn.size > 1 else math.nan


def _error(cell: Mapping[str, float | None]) -> float:
    low, high = cell["low"], cell["high"]
    if low is None or high is None:
        return math.nan
    return (high - low) / (2 * float(norm.ppf(0.975)))


def _about(first: Card, second: Card) -> dict[str, tuple[object, object]]:
    found: dict[str, tuple[object, object]] = {}
    for part in ("model", "images", "software"):
        found |= _unlike(part, first.plain[part], second.plain[part])
    one, other = _language(first), _language(second)
    if one and other:
        for part in ("model", "threshold"):
            found |= _unlike(f"language.{part}", one[part], other[part])
        asked = [{key: part[key] for key in ("question", "answer_tokens")} for part in (one, other)]
        found |= _unlike("language", *asked)
    return dict(sorted(found.items()))


def _unlike(
    part: str, one: Mapping[str, Any], other: Mapping[str, Any]
) -> dict[str, tuple[object, object]]:
    return {
        f"{part}.{key}": (one.get(key), other.get(key))
        for key in one.keys() | other.keys()
        if one.get(key) != other.get(key)
    }
