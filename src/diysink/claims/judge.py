"""Judges claims: every part against its row, by its rule."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from diysink.claims.entry import AHEAD, FLAG, INTERVAL, VALUE, Claim, Part
from diysink.claims.estimate import UNITS, Estimate, Row
from diysink.claims.names import known
from diysink.claims.results import Result, conclude
from diysink.claims.special import SPECIAL
from diysink.claims.tables import EACH, Tables
from diysink.evaluation.verdict import AHEAD as IS_AHEAD
from diysink.evaluation.verdict import outcome


def judge(
    claims: Mapping[int, Claim], tables: Tables, *, induced: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Verdicts, and the results of the parts that they rest on.

    Args:
        claims: by number.
        tables: of the run.
        induced: the encoder's sinks were induced in training.

    Returns:
        ``number, claim, paper, value, low, high, unit, n_images, verdict, built_in,
        why_built_in``: the number is that of the first part that was measured and is no control;
        ``built_in`` is ``not induced`` where no sinks were. And ``number, part, value, low, high,
        unit, n_images, p, criterion, met, control``.

    Raises:
        ValueError: a claim names an unknown table or column, or several rows as one.
    """
    rows, parts = [], []
    for number, claim in claims.items():
        try:
            results = judge_claim(claim, tables)
        except ValueError as error:
            raise ValueError(f"claim {number}: {error}") from error
        measured = [r for r in results if r.estimate is not None and not r.control]
        first = (measured[0] if measured else Result("", "", None)).row()
        rows.append(
            {
                "number": number,
                "claim": claim.claim,
                "paper": claim.paper,
                **{name: first[name] for name in ("value", "low", "high", "unit", "n_images")},
                "verdict": str(conclude(results)),
                "built_in": claim.built_in if induced else "not induced",
                "why_built_in": claim.why if induced else "",
            }
        )
        parts += [{"number": number, **result.row()} for result in results]
    return pd.DataFrame(rows), pd.DataFrame(parts)


def judge_claim(claim: Claim, tables: Tables) -> list[Result]:
    """The results of all parts; of what the claim needs, where that is not there."""
    needs = judge_parts(claim.needs, tables)
    if lacking := [need for need in needs if not need.met]:
        return [Result(need.text, "measured", None) for need in lacking]
    return judge_parts(claim.parts, tables)


def judge_parts(
    parts: Sequence[Part], tables: Tables, where: Mapping[str, Any] | None = None
) -> list[Result]:
    """The results of parts.

    Args:
        parts: of one claim.
        tables: of the run.
        where: in place of the same columns of each part.
    """
    results = []
    for part in parts:
        if part.rule in SPECIAL:
            results += SPECIAL[part.rule](tables, part.table)
            continue
        chosen = {c: (where or {}).get(c, value) for c, value in part.where.items()}
        rows = tables.rows(part.table, chosen)
        if EACH in chosen.values():
            results += [_judge(part, chosen, [row], tables) for row in rows]
        else:
            results.append(_judge(part, chosen, rows, tables))
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
        return Result(text, "measured", None, None, unit, part.control)
    match part.rule:
        case rule if rule in FLAG:
            flag = bool(row[str(part.limit)]) == (rule == "is")
            return Result(text, f"{rule} {part.limit}", flag, estimate, unit, part.control)
        case rule if rule == AHEAD:
            ahead = outcome(row, tables.level) == IS_AHEAD
            text += _trainings(row)
            criterion = f"interval above 0 and p < {1 - tables.level:.2g}"
            return Result(text, criterion, ahead, estimate, unit, part.control, row["p_holm"])
    if part.than is not None:
        limit = _other(part, where, part.than, tables)
        than = "the measurement" if part.control else ", ".join(map(str, part.than.values()))
        criterion = f"interval {part.rule} that of {than}"
    else:
        number = _limit(part, row, tables.level)
        limit = Estimate(number, number, number)
        rule = f"interval {part.rule}" if part.rule in INTERVAL else part.rule
        criterion = f"{rule.removeprefix('value ')} {UNITS[unit][0] * number:g}"
    if part.rule in VALUE:
        estimate = Estimate(estimate.value, n_images=estimate.n_images)
    met = None if limit is None else _met(part.rule, estimate, limit)
    return Result(text, criterion, met, estimate, unit, part.control)


def _met(rule: str, estimate: Estimate, limit: Estimate) -> bool | None:
    """Whether a number keeps a rule; None where the rule needs an interval that is not there."""
    if rule in INTERVAL and not (estimate.has_interval and limit.has_interval):
        return None
    match rule:
        case "above":
            return estimate.low > limit.high
        case "below":
            return estimate.high < limit.low
        case "at most":
            return estimate.high <= limit.low
        case "value above":
            return estimate.value > limit.value
        case "value below":
            return estimate.value < limit.value
        case _:  # value at least
            return estimate.value >= limit.value


def _estimate(part: Part, rows: list[Row]) -> Estimate | None:
    """The number in the rows, or the mean of several."""
    if not rows:
        return None
    if len(rows) > 1 and "mean" not in part.where.values():
        raise ValueError(f"{part.where} is true of {len(rows)} rows of the table {part.table}")
    value = "difference" if part.rule == AHEAD else part.value
    mean = Estimate.mean([Estimate.of(row, value) for row in rows])
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


def _limit(part: Part, row: Mapping[Any, Any], level: float) -> float:
    facts = {**row, "error": 1 - level}
    for column in (part.limit, part.per):
        if isinstance(column, str):
            known(column, [str(name) for name in facts], f"column of the table {part.table}:")
    limit = facts[part.limit] if isinstance(part.limit, str) else part.limit or 0
    return float(limit) * (1.0 if part.per is None else float(row[part.per]))


def _trainings(row: Row) -> str:
    """What other trainings would change, where there were several."""
    if row["n_seeds"] == 1:
        return ""
    ends = f"{100 * row['training_low']:+.1f} to {100 * row['training_high']:+.1f} points"
    return f" ({row['n_seeds']} trainings; over trainings and images {ends})"
