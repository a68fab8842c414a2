"""What is found of a claim: a result of every part, and a verdict from them.

A claim holds if all of its parts do. A part that fails decides, whatever else is missing; with none
failed, one part that was not measured leaves the claim open. A control is a part like any other: it
is met where the control stays clear of the measurement, so that a finding which the control shows
as well does not hold. Rules apply to whole intervals wherever there are any.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from diysink.claims.estimate import NAN, Estimate


class Verdict(StrEnum):
    """What the data show of a claim."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    NOT_MEASURABLE = "not measurable here"


MET = {True: "yes", False: "no", None: "not measured"}


@dataclass(frozen=True)
class Result:
    """The result of one part.

    Attributes:
        text: what was measured.
        criterion: the rule, with its limit.
        met: whether it is so; None where it was not measured.
        estimate: the number; None where it was not measured.
        unit: of the number.
        control: it is the claim's control.
        p: of a test, corrected; NaN where only the interval decides.
    """

    text: str
    criterion: str
    met: bool | None
    estimate: Estimate | None = None
    unit: str = "number"
    control: bool = False
    p: float = NAN

    def row(self) -> dict[str, Any]:
        """As a row of the table of parts."""
        estimate = self.estimate or Estimate(NAN)
        return {
            "part": self.text,
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "unit": self.unit,
            "n_images": estimate.n_images,
            "p": self.p,
            "criterion": self.criterion,
            "met": MET[self.met],
            "control": self.control,
        }


def conclude(results: Iterable[Result]) -> Verdict:
    """All met: holds. One failed: does not. Else it was not measured.

    >>> conclude([Result("a", "", None), Result("b", "", False)])
    <Verdict.DOES_NOT_HOLD: 'does not hold'>
    """
    met = [result.met for result in results]
    if False in met:
        return Verdict.DOES_NOT_HOLD
    return Verdict.HOLDS if met and None not in met else Verdict.NOT_MEASURABLE
