"""Judges claims: every part against its row, by its rule."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from diysink.claims.decision import Decision, decide, detectable, yes_or_no
from diysink.claims.entry import AHEAD, FLAG, INTERVAL, Claim, Part
from diysink.claims.estimate import NAN, NOTHING, UNITS, Estimate, Row
from diysink.claims.names import known
from diysink.claims.results import Finding, Result, Verdict, conclude
from diysink.claims.special import SPECIAL
from diysink.claims.tables import EACH, Tables, trainings
from diysink.evaluation.verdict import AHEAD as IS_AHEAD
from diysink.evaluation.verdict import lags, outcome

OF_THE_PART = ("part", "value", "low", "high", "unit", "n_images", "smallest", "detectable",
               "finding")  # fmt: skip


def judge(
    claims: Mapping[int, Claim], tables: Tables, *, induced: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Verdicts, and the results of the parts that they rest on.

    Args:
        claims: by number.
        tables: of the run.
        induced: the encoder's sinks were induced in training.

    Returns:
        ``number, name, claim, paper, basis, verdict``; ``part, value, low, high, unit, n_images,
        smallest, detectable, finding`` of the part that decides; ``trainings``, the fewest that a
        part rests on (0: none rests on any); ``trained_apart``: whether parts compare models that
        were trained apart (yes, partly, no); ``built_in`` (``not induced`` where no sinks were) and
        ``why_built_in``. And the parts, each with ``number`` and the columns of `Result.row`.

    Raises:
        ValueError: a claim names an unknown table or column, or several rows as one.
    """
    rows, parts = [], []
    for number, claim in claims.items():
        try:
            results = judge_claim(claim, tables)
        except ValueError as error:
            raise ValueError(f"claim {number}: {error}") from error
        verdict, decisive = conclude(results)
        own = (decisive or Result.missing("")).row()
        rows.append(
            {
                "number": number,
                "name": claim.name,
                "claim": claim.claim,
                "paper": claim.paper,
                "basis": claim.basis,
                "verdict": str(verdict),
                **{name: own[name] for name in OF_THE_PART},
                "trainings": min((r.trainings for r in results if r.trainings), default=0),
                "trained_apart": _some(r.trained_apart for r in results if r.estimate is not None),
                "built_in": claim.built_in if induced else "not induced",
                "why_built_in": claim.why if induced else "",
            }
        )
        parts += [{"number": number, **result.row()} for result in results]
    return pd.DataFrame(rows), pd.DataFrame(parts)


def judge_claim(
    claim: Claim, tables: Tables, where: Mapping[str, Any] | None = None
) -> list[Result]:
    """The results of all parts and of what the claim needs; of the latter alone where it lacks.

    Args:
        claim: whose parts.
        tables: of the run.
        where: in place of the same columns of each part.
    """
    needs = [need.as_control() for need in judge_parts(claim.needs, tables, where)]
    lacking = [need for need in needs if need.verdict != Verdict.SHOWN]
    if lacking:
        return [replace(need, verdict=Verdict.NOT_MEASURABLE) for need in lacking]
    return [*judge_parts(claim.parts, tables, where), *needs]


def judge_parts(
    parts: Sequence[Part], tables: Tables, where: Mapping[str, Any] | None = None
) -> list[Result]:
    """The results of parts; for the arguments see `judge_claim`."""
    results = []
    for part in parts:
        if part.rule in SPECIAL:
            results += SPECIAL[part.rule](tables, part.table)
            continue
        chosen = {c: (where or {}).get(c, value) for c, value in part.where.items()}
        rows = tables.rows(part.table, chosen)
        if EACH in chosen.values():
            found = [_judge(part, chosen, [row], tables) for row in rows]
        else:
            found = [_judge(part, chosen, rows, tables)]
        results += [one.as_control() if part.control else one for one in found]
    return results


def _judge(part: Part, where: Mapping[str, Any], rows: list[Row], tables: Tables) -> Result:
    """One part, given its rows."""
    unit = "difference" if part.rule == AHEAD else part.unit
    estimate = _estimate(part, rows)
    if estimate is not None and part.less is not None:
        other = _other(part, where, part.less, tables)
        estimate = None if other is None else estimate.less(other)
    row = rows[0] if rows else {}
    text = part.text.format_map(defaultdict(lambda: "?", {**where, **row, "rows": len(rows)}))
    if estimate is None or estimate.value != estimate.value:
        return Result.missing(text, unit, control=part.control)
    if part.rule == AHEAD:
        return _compared(part, row, estimate, text, tables.level)
    if part.rule in FLAG:
        decision = yes_or_no(bool(row[str(part.limit)]) == (part.rule == "is"))
        return Result(text, f"{part.rule} {part.limit}", *decision, estimate, unit,
                      trainings=trainings(row))  # fmt: skip
    limit, nothing, criterion = _limit(part, where, row, tables)
    if part.rule not in INTERVAL:
        estimate = Estimate(estimate.value, n_images=estimate.n_images)
    decision = (
        (Verdict.NOT_MEASURABLE, Finding.NOT_MEASURED)
        if limit is None
        else _decide(part, estimate, limit, nothing)
    )
    return Result(
        text, criterion, *decision, estimate, unit,
        smallest=NAN if part.smallest is None else float(part.smallest),
        detectable=detectable(estimate, tables.level),
        trainings=trainings(row),
    )  # fmt: skip


def _compared(part: Part, row: Row, estimate: Estimate, text: str, level: float) -> Result:
    """A planned comparison: the test after Holm's correction must agree with the interval."""
    verdict, finding = decide(estimate, Estimate.exact(0.0), part.smallest, NOTHING["difference"])
    apart, several = bool(row["separate"]), int(row["n_seeds"])
    if apart and several == 1:
        verdict, finding = Verdict.UNDECIDED, Finding.ONE_TRAINING
    elif lags(row):
        verdict, finding = Verdict.UNDECIDED, Finding.NOT_CONVERGED
    elif verdict == Verdict.SHOWN and outcome(row, level) != IS_AHEAD:
        verdict, finding = Verdict.UNDECIDED, Finding.UNCORRECTED
    return Result(
        text, f"above 0 and p < {1 - level:.2g}", verdict, finding, estimate, "difference",
        smallest=NAN if part.smallest is None else float(part.smallest),
        detectable=float(row["detectable"]), p=float(row["p_holm"]),
        trainings=several, trained_apart=apart,
    )  # fmt: skip


def _decide(part: Part, estimate: Estimate, limit: Estimate, nothing: float | None) -> Decision:
    match part.rule:
        case "above":
            return decide(estimate, limit, part.smallest, nothing)
        case "below":
            return decide(estimate.negative(), limit.negative())
        case "value at least":
            return yes_or_no(estimate.value >= limit.value)
        case _:  # value below
            return yes_or_no(estimate.value < limit.value)


def _estimate(part: Part, rows: list[Row]) -> Estimate | None:
    """The number in the rows, or the mean of several."""
    if not rows:
        return None
    if len(rows) > 1 and "mean" not in part.where.values():
        raise ValueError(f"{part.where} is true of {len(rows)} rows of the table {part.table}")
    if part.rule == AHEAD:
        return Estimate.of_comparison(rows[0])
    mean = Estimate.mean([Estimate.of(row, part.value) for row in rows])
    return mean.negative() if part.negative else mean


def _other(
    part: Part, where: Mapping[str, Any], changed: Mapping[str, Any], tables: Tables
) -> Estimate | None:
    """The number in the row that differs so from that of the part."""
    other = {**where, **changed}
    estimate = _estimate(part, tables.rows(part.table, other))
    if estimate is None or part.less is None or changed is part.less:
        return estimate
    less = _estimate(part, tables.rows(part.table, {**other, **part.less}))
    return None if less is None else estimate.less(less)


def _limit(
    part: Part, where: Mapping[str, Any], row: Row, tables: Tables
) -> tuple[Estimate | None, float | None, str]:
    """The limit; where there is no effect at all; and the criterion in words."""
    if part.than is None:
        number = _number(part, row, tables.level)
        rule = part.rule.removeprefix("value ")
        criterion = f"{rule} {UNITS[part.unit][0] * number:g}"
        return Estimate.exact(number), NOTHING.get(part.unit), criterion
    factor = 1.0 if part.limit is None else _number(part, row, tables.level)
    other = _other(part, where, part.than, tables)
    of = "the measurement" if part.control else ", ".join(map(str, part.than.values()))
    times = "" if factor == 1 else f"{factor:g} times "
    criterion = f"{part.rule} {times}that of {of}"
    # Twice as much as another row: as much as that row is no effect, more is a smaller one.
    return other and other.times(factor), None if other is None else other.low, criterion


def _number(part: Part, row: Row, level: float) -> float:
    facts = {**row, "error": 1 - level}
    for column in (part.limit, part.per):
        if isinstance(column, str):
            known(column, [str(name) for name in facts], f"column of the table {part.table}:")
    limit = facts[part.limit] if isinstance(part.limit, str) else part.limit or 0
    return float(limit) * (1.0 if part.per is None else float(row[part.per]))


def _some(flags: Any) -> str:
    flags = list(flags)
    return "yes" if flags and all(flags) else "partly" if any(flags) else "no"
