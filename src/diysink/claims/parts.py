"""What a claim is judged by: parts, each one number with its interval and what is asked of it.

A claim holds if all of its parts do. A part that fails decides, whatever else is missing; with none
failed, one part that was not measured leaves the claim open. A control is a part like any other: it
is met where the control stays clear of the measurement, so that a finding which the control shows
as well does not hold. What is asked is asked of whole intervals, never of a number alone.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

Row = Mapping[Any, Any]


class Verdict(StrEnum):
    """What the data say of a claim."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    NOT_MEASURABLE = "not measurable here"


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
    low: float
    high: float
    n_images: int

    @classmethod
    def of(cls, row: Row, value: str = "value", low: str = "low", high: str = "high") -> "Estimate":
        """From the named columns of a table's row."""
        return cls(
            float(row[value]), float(row[low]), float(row[high]), int(row.get("n_images", 0))
        )

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

    def negative(self) -> "Estimate":
        """The same difference, taken the other way round."""
        return Estimate(-self.value, -self.high, -self.low, self.n_images)

    @property
    def has_interval(self) -> bool:
        """Whether both ends are numbers."""
        return not (math.isnan(self.low) or math.isnan(self.high))


@dataclass(frozen=True)
class Part:
    """One thing that a claim needs.

    Attributes:
        says: what was measured; for a part that was not, what would measure it.
        wanted: what is asked of it.
        met: whether it is so; None where it was not measured.
        estimate: the number; None where it was not measured.
        unit: of the number: a key of :data:`UNITS`.
        control: it is the claim's control.
        p: of a test, corrected; None where only the interval decides.
    """

    says: str
    wanted: str
    met: bool | None
    estimate: Estimate | None = None
    unit: str = "number"
    control: bool = False
    p: float | None = None

    def as_control(self) -> "Part":
        """The same, counted as the claim's control."""
        return replace(self, wanted=f"control: {self.wanted}", control=True)

    def told(self) -> str:
        """The part in one clause."""
        if self.estimate is None:
            return self.says
        p = "" if self.p is None else f", p = {self.p:.2g} (Holm)"
        return f"{self.says} {told(self.estimate, self.unit)}{p} ({self.wanted})"


UNITS = {  # factor, sign, digits, unit as it is written
    "number": (1.0, False, 2, ""),
    "ratio": (1.0, False, 2, " times"),
    "correlation": (1.0, True, 2, ""),
    "share": (100.0, False, 1, " %"),
    "difference": (100.0, True, 1, " points"),
    "change": (1.0, True, 3, ""),
}
"""How numbers are written; shares and their differences are of 1 in the tables."""


def told(estimate: Estimate, unit: str) -> str:
    """The number as it is read.

    >>> told(Estimate(0.125, 0.1, 0.2, 9), "difference"), told(Estimate(3.1, 3.0, 3.2, 9), "ratio")
    ('+12.5 points [+10.0, +20.0]', '3.10 times [3.00, 3.20]')
    """
    factor, signed, digits, name = UNITS[unit]

    def write(number: float) -> str:
        return f"{factor * number:{'+' if signed else ''}.{digits}f}"

    ends = f" [{write(estimate.low)}, {write(estimate.high)}]" if estimate.has_interval else ""
    return f"{write(estimate.value)}{name}{ends}"


def above(says: str, estimate: Estimate, limit: float, unit: str = "number") -> Part:
    """Asks that the whole interval lies above a limit; without an interval, nothing is known."""
    met = estimate.low > limit if estimate.has_interval else None
    return Part(says, f"interval above {UNITS[unit][0] * limit:g}", met, estimate, unit)


def below(says: str, estimate: Estimate, limit: float, unit: str = "number") -> Part:
    """Asks that the whole interval lies below a limit."""
    met = estimate.high < limit if estimate.has_interval else None
    return Part(says, f"interval below {UNITS[unit][0] * limit:g}", met, estimate, unit)


def clear(says: str, control: Estimate, measured: Estimate, unit: str = "number") -> Part:
    """A control: asks that its whole interval lies below that of what was measured."""
    known = control.has_interval and measured.has_interval
    return Part(
        says,
        "control: interval below the measurement's",
        control.high < measured.low if known else None,
        control,
        unit,
        control=True,
    )


def lacking(would: str, *, control: bool = False) -> Part:
    """A part that was not measured, and what would measure it."""
    return Part(would, "measured", None, control=control)


def conclude(parts: Iterable[Part]) -> Verdict:
    """All met: holds. One failed: does not. Else it was not measured.

    >>> conclude([lacking("more data"), Part("a", "b", False)])
    <Verdict.DOES_NOT_HOLD: 'does not hold'>
    """
    met = [part.met for part in parts]
    if False in met:
        return Verdict.DOES_NOT_HOLD
    return Verdict.HOLDS if met and None not in met else Verdict.NOT_MEASURABLE
