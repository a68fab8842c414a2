"""Three outcomes of a number with its interval: shown, refuted, undecided.

Two numbers are fixed beforehand: the limit that the claim's words put, and the smallest effect of
interest, which is the paper's. The interval decides (Lakens 2017, equivalence tests for social
psychology): beyond the limit the effect is shown; any other interval that holds no effect of
interest refutes it, and says whether there is none, a smaller one, or the contrary; all
others are undecided.
"""

from scipy.stats import norm

from diysink.claims.estimate import Estimate
from diysink.claims.results import Finding, Verdict

POWER = 0.8
Decision = tuple[Verdict, Finding]


def decide(
    estimate: Estimate,
    limit: Estimate,
    smallest: int | float | None = None,
    nothing: float | None = None,
) -> Decision:
    """What an interval says of "above the limit".

    Args:
        estimate: with its interval.
        limit: a number, or another number with its interval: then end is held against end.
        smallest: effect of interest, at or above the limit; None: the limit.
        nothing: where there is no effect at all, at or below ``smallest``; None: the limit.

    >>> decide(Estimate(0.0, -0.001, 0.001), Estimate.exact(0.0), 0.02)
    (<Verdict.REFUTED: 'refuted'>, <Finding.NONE: 'no effect'>)
    """
    if not (estimate.has_interval and limit.has_interval):
        return Verdict.NOT_MEASURABLE, Finding.NOT_MEASURED
    wanted = limit.low if smallest is None else smallest
    zero = limit.low if nothing is None else nothing
    if estimate.low > limit.high:
        return Verdict.SHOWN, Finding.SMALLER if estimate.high < wanted else Finding.EFFECT
    if estimate.high >= wanted:
        return Verdict.UNDECIDED, Finding.WIDE
    if estimate.high < zero:
        return Verdict.REFUTED, Finding.CONTRARY
    return Verdict.REFUTED, Finding.SMALLER if estimate.low > zero else Finding.NONE


def yes_or_no(met: bool) -> Decision:
    """Of a fact without sampling error."""
    return (Verdict.SHOWN, Finding.EFFECT) if met else (Verdict.REFUTED, Finding.CONTRARY)


def detectable(estimate: Estimate, level: float) -> float:
    """Smallest true difference from the limit that is shown in 80 of 100 such designs.

    From the width of the interval, taken as that of a normal distribution.

    >>> round(detectable(Estimate(0.0, -0.0196, 0.0196), 0.95), 3)
    0.028
    """
    z = float(norm.ppf((1 + level) / 2))
    return (estimate.high - estimate.low) / 2 * (z + float(norm.ppf(POWER))) / z
