"""What is found of a claim: a result of every part, and a verdict from them.

A claim is shown if all of its parts and controls are. A part that is refuted decides, whatever else
is missing. A control refutes nothing: one that fails takes the finding away, so the claim is
undecided. What a claim needs is a control too (the measure sees what is there): without it nothing
is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from diysink.claims.estimate import NAN, Estimate


class Verdict(StrEnum):
    """What the data show of a claim, or of one of its parts."""

    SHOWN = "shown"
    REFUTED = "refuted"
    UNDECIDED = "undecided"
    NOT_MEASURABLE = "not measurable here"


class Finding(StrEnum):
    """Why the verdict is what it is."""

    EFFECT = "effect"
    """Beyond the limit, and as large as the smallest effect of interest may be."""
    SMALLER = "smaller effect"
    """An effect, but the whole interval is below the smallest effect of interest."""
    NONE = "no effect"
    """The interval holds "nothing", and no effect as large as the smallest of interest."""
    CONTRARY = "contrary"
    """The whole interval lies on the other side."""
    WIDE = "too wide"
    """The interval holds the limit and effects of interest: the design is too small."""
    UNCORRECTED = "not after correction"
    """The interval excludes the limit, the test after Holm's correction does not."""
    ONE_TRAINING = "one training"
    """Two models that were trained apart, once each."""
    NOT_CONVERGED = "not converged"
    """Two models that were trained apart, one of which had not converged."""
    CONTROL = "control fails"
    """The control does not stay clear of the measurement, or is too wide to tell."""
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Result:
    """The result of one part.

    Attributes:
        text: what was measured.
        criterion: the rule, with its limit.
        verdict: of this part.
        finding: why.
        estimate: the number; None where it was not measured.
        unit: of the number.
        control: it is a control of the claim.
        smallest: smallest effect of interest; NaN where it is the limit.
        detectable: smallest true difference from the limit that the design would find.
        p: of a test, corrected; NaN where only the interval decides.
        trainings: that the number rests on; 0: on no training of this run.
        trained_apart: it compares models that were trained apart.
    """

    text: str
    criterion: str
    verdict: Verdict
    finding: Finding
    estimate: Estimate | None = None
    unit: str = "number"
    control: bool = False
    smallest: float = NAN
    detectable: float = NAN
    p: float = NAN
    trainings: int = 0
    trained_apart: bool = False

    @classmethod
    def missing(cls, text: str, unit: str = "number", *, control: bool = False) -> "Result":
        """Of a part that was not measured."""
        verdict, finding = Verdict.NOT_MEASURABLE, Finding.NOT_MEASURED
        return cls(text, "measured", verdict, finding, unit=unit, control=control)

    def as_control(self) -> "Result":
        """The same as a control: what is measured and not shown fails, and refutes nothing."""
        if self.verdict in (Verdict.SHOWN, Verdict.NOT_MEASURABLE):
            return replace(self, control=True)
        return replace(self, control=True, verdict=Verdict.UNDECIDED, finding=Finding.CONTROL)

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
            "trainings": self.trainings,
            "trained_apart": self.trained_apart,
            "p": self.p,
            "criterion": self.criterion,
            "smallest": self.smallest,
            "detectable": self.detectable,
            "verdict": str(self.verdict),
            "finding": str(self.finding),
            "control": self.control,
        }


def conclude(results: Sequence[Result]) -> tuple[Verdict, Result | None]:
    """The verdict on a claim, and the part that decides it; None of no parts.

    >>> shown = Result("a", "", Verdict.SHOWN, Finding.EFFECT)
    >>> refuted = Result("b", "", Verdict.REFUTED, Finding.CONTRARY)
    >>> conclude([shown, refuted])[0]
    <Verdict.REFUTED: 'refuted'>
    >>> conclude([shown, refuted.as_control()])[0]
    <Verdict.UNDECIDED: 'undecided'>
    """
    in_order = sorted(results, key=lambda result: result.control)  # controls last
    for verdict in (Verdict.REFUTED, Verdict.NOT_MEASURABLE, Verdict.UNDECIDED):
        for result in in_order:
            if result.verdict == verdict:
                return verdict, result
    return (Verdict.SHOWN, in_order[0]) if in_order else (Verdict.NOT_MEASURABLE, None)
