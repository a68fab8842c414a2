"""docs/claims.md: the twelve verdicts as a page of the documentation, written by the run."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from diysink.claims.parts import Estimate, Verdict, told

_HEAD = """# Claims

<!-- Written by `kedro run --pipelines analyze` (data/08_reporting/claims.md): do not edit. -->

Twelve claims of the paper ([arXiv 2510.08510](https://arxiv.org/abs/2510.08510)), each against
the tables of one run. A claim *holds* if every part does, each asked of the whole interval and,
where answers are compared, of Holm's corrected p as well; its control must stay clear of the
measurement. *Does not hold* means that a part is not shown here; it is no proof of the opposite.
*Not measurable here* says what would measure it.
[How verdicts are made](guides/report.md#claims).
"""
_INDUCED = """
**The sinks of this run's encoder were induced in training.** Its verdicts test the software. They
are no evidence for or against the paper's claims about real encoders; *built in* says which of
them could hardly have come out otherwise.
"""


def claims_page(claims: pd.DataFrame, parts: pd.DataFrame, *, level: float, induced: bool) -> str:
    """The page in Markdown.

    Args:
        claims: the verdicts.
        parts: what they rest on.
        level: of the intervals.
        induced: the encoder's sinks were induced.
    """
    counts = claims["verdict"].value_counts()
    lines = [_HEAD + (_INDUCED if induced else ""), _summary(counts, level), ""]
    lines += [
        "| | claim | verdict | measured | images | built in |",
        "|---|---|---|---|---|---|",
        *(_row(row) for row in claims.to_dict("records")),
        "",
    ]
    for row in claims.to_dict("records"):
        lines += _section(row, parts[parts["number"] == row["number"]].to_dict("records"))
    return "\n".join(lines)


def measured(row: Mapping[Any, Any]) -> str:
    """The row's number with its interval; a dash where nothing was measured.

    >>> nothing = float("nan")
    >>> measured({"value": 3.0, "low": nothing, "high": nothing, "n_images": 1, "unit": "ratio"})
    '3.00 times'
    """
    estimate = Estimate.of(row)
    return "–" if estimate.value != estimate.value else told(estimate, str(row["unit"]))


def _summary(counts: "pd.Series[int]", level: float) -> str:
    numbers = {verdict: int(counts.get(str(verdict), 0)) for verdict in Verdict}
    said = ", ".join(f"{number} {_plural(verdict, number)}" for verdict, number in numbers.items())
    return f"Of {int(counts.sum())} claims {said}. Intervals: {100 * level:g} %, over images."


def _plural(verdict: Verdict, number: int) -> str:
    if number == 1:
        return str(verdict)
    return {
        Verdict.HOLDS: "hold",
        Verdict.DOES_NOT_HOLD: "do not hold",
        Verdict.NOT_MEASURABLE: "are not measurable here",
    }[verdict]


def _row(row: Mapping[Any, Any]) -> str:
    cells = (
        f"[{row['number']}](#claim-{row['number']})",
        row["claim"],
        f"**{row['verdict']}**",
        measured(row),
        row["n_images"] or "–",
        row["built_in"],
    )
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _section(row: Mapping[Any, Any], parts: list[dict[Any, Any]]) -> list[str]:
    lines = [
        f"## Claim {row['number']}",
        "",
        f"{row['claim']}",
        "",
        f"*The paper*: {row['paper']}.",
        "",
        f"**{str(row['verdict']).capitalize()}.**",
        "",
        "| part | measured | asked | met | images |",
        "|---|---|---|---|---|",
    ]
    for part in parts:
        asked = part["wanted"] + ("" if pd.isna(part["p"]) else f"; p = {part['p']:.2g} (Holm)")
        cells = (part["part"], measured(part), asked, part["met"], part["n_images"] or "–")
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    if row["why_built_in"]:
        lines += ["", f"*Built in: {row['built_in']}.* {row['why_built_in']}"]
    return [*lines, ""]


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
