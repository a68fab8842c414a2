"""docs/claims.md: the verdicts as a page of the documentation, written by the run."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from diysink.claims.estimate import Estimate
from diysink.claims.results import Verdict

_HEAD = """# Claims

<!-- Written by `kedro run --pipelines claims` (data/08_reporting/claims.md): do not edit. -->

Claims of the paper ([arXiv 2510.08510](https://arxiv.org/abs/2510.08510)), each against the tables
of one run. A claim *holds* if every part does. A rule applies to the whole interval; where answers
are compared, to p after Holm's correction as well. The control must stay clear of the measurement.
*Does not hold* means that a part is not shown here. It is no proof of the opposite.
*Not measurable here* names what was not measured.
[How verdicts are made](guides/report.md#claims).
"""
_INDUCED = """
**The sinks of this run's encoder were induced in training.** Its verdicts test the software. They
are no evidence for or against the paper's claims about real encoders. *Built in* marks those that
the training of the encoder makes true.
"""


def claims_page(claims: pd.DataFrame, parts: pd.DataFrame, *, level: float, induced: bool) -> str:
    """The page in Markdown.

    Args:
        claims: the verdicts.
        parts: what they rest on.
        level: of the intervals.
        induced: the encoder's sinks were induced.
    """
    verdicts = list(claims["verdict"]) if len(claims) else []
    numbers = ", ".join(f"{verdict}: {verdicts.count(str(verdict))}" for verdict in Verdict)
    lines = [
        _HEAD + (_INDUCED if induced else ""),
        f"{len(claims)} claims. {numbers}. Intervals: {100 * level:g} %, over images.",
        "",
        *_table(
            ("", "claim", "verdict", "measured", "images", "built in"),
            (
                (
                    f"[{row['number']}](#claim-{row['number']})", row["claim"],
                    f"**{row['verdict']}**", measured(row), row["n_images"] or "–", row["built_in"],
                )
                for row in claims.to_dict("records")
            ),
        ),
    ]  # fmt: skip
    for row in claims.to_dict("records"):
        own = parts[parts["number"] == row["number"]].to_dict("records")
        lines += [
            f"## Claim {row['number']}",
            "",
            row["claim"],
            "",
            f"*The paper*: {row['paper']}.",
            "",
            f"**{str(row['verdict']).capitalize()}.**",
            "",
            *_table(
                ("part", "measured", "criterion", "met", "images"),
                (
                    (part["part"], measured(part), criterion(part), part["met"],
                     part["n_images"] or "–")
                    for part in own
                ),
            ),
        ]  # fmt: skip
        if row["why_built_in"]:
            lines += [f"*Built in: {row['built_in']}.* {row['why_built_in']}", ""]
    return "\n".join(lines)


def measured(row: Mapping[Any, Any]) -> str:
    """The row's number with its interval; a dash where nothing was measured.

    >>> measured({"value": 3.0, "low": NAN, "high": NAN, "n_images": 1, "unit": "ratio"})
    '3.00 times'
    """
    estimate = Estimate.of(row)
    return "–" if estimate.value != estimate.value else estimate.written(str(row["unit"]))


def criterion(part: Mapping[Any, Any]) -> str:
    """The rule of a part, with p where there is a test."""
    control = "control: " if part["control"] else ""
    p = "" if pd.isna(part["p"]) else f"; p = {part['p']:.2g} (Holm)"
    return f"{control}{part['criterion']}{p}"


def _table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    lines = [list(heads), ["---"] * len(list(heads)), *rows]
    return [*(f"| {' | '.join(map(_cell, line))} |" for line in lines), ""]


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
