"""A number with its interval, and how it is written."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diysink.evaluation.verdict import ends

Row = Mapping[Any, Any]
NAN = float("nan")

UNITS = {  # factor, sign, digits, unit as it is written
    "number": (1.0, False, 2, ""),
    "ratio": (1.0, False, 2, " times"),
    "correlation": (1.0, True, 2, ""),
    "share": (100.0, False, 1, " %"),
    "difference": (100.0, True, 1, " points"),
    "change": (1.0, True, 3, ""),
}
"""Shares and their differences are of 1 in the tables, and written in percent."""
NOTHING = {"ratio": 1.0, "correlation": 0.0, "difference": 0.0, "change": 0.0}
"""Where there is no effect at all, of the units that have such a point."""


@dataclass(frozen=True)
class Estimate:
    """A number, its interval over images, and of how many.

    Attributes:
        value: the number.
        low: lower end of the interval; NaN where there is none.
        high: upper end.
        n_images: that the interval is over.
    """

    value: float
    low: float = NAN
    high: float = NAN
    n_images: int = 0

    @classmethod
    def of(cls, row: Row, value: str = "value") -> "Estimate":
        """A column of a table's row; only ``value`` has an interval."""
        low, high = (float(row[end]) if value == "value" else NAN for end in ("low", "high"))
        return cls(float(row[value]), low, high, int(row.get("n_images", 0)))

    @classmethod
    def of_comparison(cls, row: Row) -> "Estimate":
        """A difference of answers: over trainings and images where there are several trainings."""
        low, high = map(float, ends(row))
        return cls(float(row["difference"]), low, high, int(row["n_images"]))

    @classmethod
    def exact(cls, value: float) -> "Estimate":
        """A number that is known."""
        return cls(value, value, value)

    @classmethod
    def mean(cls, estimates: Sequence["Estimate"]) -> "Estimate":
        """The mean of several, as wide as if all erred alike: they are of the same images."""
        number = len(estimates)
        return cls(
            sum(e.value for e in estimates) / number,
            sum(e.low for e in estimates) / number,
            sum(e.high for e in estimates) / number,
            min(e.n_images for e in estimates),
        )

    def less(self, other: "Estimate") -> "Estimate":
        """This less the other, ends against ends: wider than a paired interval, never narrower.

        >>> Estimate(0.75, 0.5, 1.0, 9).less(Estimate(0.5, 0.25, 0.75, 8))
        Estimate(value=0.25, low=-0.25, high=0.75, n_images=8)
        """
        return Estimate(
            self.value - other.value,
            self.low - other.high,
            self.high - other.low,
            min(self.n_images, other.n_images),
        )

    def times(self, factor: float) -> "Estimate":
        """A multiple, by a factor above 0."""
        value, low, high = (factor * end for end in (self.value, self.low, self.high))
        return Estimate(value, low, high, self.n_images)

    def negative(self) -> "Estimate":
        """The same difference, taken the other way round."""
        return Estimate(-self.value, -self.high, -self.low, self.n_images)

    @property
    def has_interval(self) -> bool:
        """Whether both ends are numbers."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    def written(self, unit: str) -> str:
        """The number as it is read.

        >>> Estimate(0.125, 0.1, 0.2).written("difference"), Estimate(3.1).written("ratio")
        ('+12.5 points [+10.0, +20.0]', '3.10 times')
        """
        factor, signed, digits, name = UNITS[unit]
        sign = "+" if signed else ""
        value, low, high = (
            f"{factor * number:{sign}.{digits}f}" for number in (self.value, self.low, self.high)
        )
        return f"{value}{name}" + (f" [{low}, {high}]" if self.has_interval else "")


def amount(value: float, unit: str) -> str:
    """A size without an interval and a sign, as it is read: three digits.

    >>> amount(0.00962, "difference"), amount(0.2, "ratio")
    ('0.962 points', '0.2 times')
    """
    factor, _, _, name = UNITS[unit]
    return f"{factor * value:.3g}{name}"
