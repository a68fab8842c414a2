"""Verdicts on claims in words: of one claim, and of all in three sentences and in one line."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from diysink.claims.estimate import Estimate, amount
from diysink.claims.results import Finding, Verdict

Row = Mapping[Any, Any]


def measured(row: Row) -> str:
    """The row's number with its interval; a dash where nothing was measured.

    >>> measured({"value": 3.0, "low": float("nan"), "high": float("nan"), "unit": "ratio"})
    '3.00 times'
    """
    estimate = Estimate.of(row)
    return "–" if estimate.value != estimate.value else estimate.written(str(row["unit"]))


def size(row: Row, column: str) -> str:
    """Its ``smallest`` or ``detectable`` effect; a dash where there is none."""
    return "–" if pd.isna(row[column]) else amount(float(row[column]), str(row["unit"]))


def criterion(part: Row) -> str:
    """The rule of a part, with p where there is a test."""
    control = "control: " if part["control"] else ""
    p: float = part["p"]
    tested = "" if pd.isna(p) else f"; p = {p:.2g} (Holm)"
    return f"{control}{part['criterion']}{tested}"


def reason(row: Row) -> str:
    """Why the verdict on a claim or a part is what it is."""
    detects = f"this design detects {size(row, 'detectable')}"
    match row["finding"]:
        case Finding.EFFECT:
            return "the interval is beyond the limit"
        case Finding.SMALLER if row["verdict"] == Verdict.SHOWN:
            return f"beyond the limit, but smaller than {size(row, 'smallest')}"
        case Finding.SMALLER:
            return "an effect, but smaller than the smallest of interest"
        case Finding.NONE:
            return f"no effect larger than {amount(float(row['high']), str(row['unit']))}"
        case Finding.CONTRARY:
            return "on the other side"
        case Finding.WIDE:
            return f"too wide: {detects}"
        case Finding.UNCORRECTED:
            return f"not after Holm's correction: {detects}"
        case Finding.ONE_TRAINING:
            return "two models trained apart, with one training each"
        case Finding.NOT_CONVERGED:
            return "a training has not converged"
        case other:
            return str(other)


def sentences(claims: pd.DataFrame) -> list[str]:
    """What was shown, what was refuted, what is undecided; and what was not measured, if anything.

    Args:
        claims: the verdicts that `diysink.claims.judge` gave.
    """
    said = []
    for verdict, rows in _by_verdict(claims).items():
        if verdict == Verdict.NOT_MEASURABLE and not rows:
            continue
        each = "; ".join(f"{row['number']} {row['name']}{_detail(row)}" for row in rows)
        said.append(f"{str(verdict).capitalize()}: {each or 'none'}.")
    return said


def tally(claims: pd.DataFrame) -> str:
    """One line: how many claims have each verdict, and which.

    >>> tally(pd.DataFrame({"number": [1, 2], "verdict": ["shown", "shown"]}))
    '2 shown (1, 2), 0 refuted, 0 undecided'
    """
    said = []
    for verdict, rows in _by_verdict(claims).items():
        if rows or verdict != Verdict.NOT_MEASURABLE:
            numbers = ", ".join(str(row["number"]) for row in rows)
            said.append(f"{len(rows)} {verdict}" + (f" ({numbers})" if rows else ""))
    return ", ".join(said)


def _by_verdict(claims: pd.DataFrame) -> dict[Verdict, list[dict[Any, Any]]]:
    rows = claims.to_dict("records")
    return {verdict: [row for row in rows if row["verdict"] == verdict] for verdict in Verdict}


def _detail(row: Row) -> str:
    if row["verdict"] == Verdict.NOT_MEASURABLE:
        return ""
    said = [measured(row)]
    if row["verdict"] == Verdict.UNDECIDED:
        said.append(reason(row))
    elif pd.notna(row["detectable"]):
        said.append(f"detects {size(row, 'detectable')}")
    if row["finding"] in (Finding.SMALLER, Finding.NONE):
        said.append(str(row["finding"]))
    if row["verdict"] == Verdict.SHOWN and row["built_in"] in ("yes", "partly"):
        said.append("built in" if row["built_in"] == "yes" else "partly built in")
    return f" ({', '.join(said)})"
