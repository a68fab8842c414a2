"""docs/claims.md: the verdicts as a page of the documentation, written by the run."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from diysink.claims.sentences import criterion, measured, reason, sentences, size

_HEAD = """# Claims

<!-- Written by `kedro run --pipelines claims` (data/08_reporting/claims.md): do not edit. -->

Claims of the paper ([arXiv 2510.08510](https://arxiv.org/abs/2510.08510)), each against the tables
of one run.
"""
_RULES = """
A claim is *shown* if every part is: its whole interval is beyond the limit, after Holm's correction
where answers are compared, and the control stays clear. It is *refuted* if the interval of a part
is not beyond its limit and holds no effect as large as the smallest of interest, which is the
paper's. Else it is *undecided*. *Detects*: the smallest true effect that this design shows with
80 % power.
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
    lines = [_HEAD + (_INDUCED if induced else "")]
    lines += [line for sentence in sentences(claims) for line in (sentence, "")]
    lines += [
        _RULES.strip(),
        "",
        f"Intervals: {100 * level:g} %, over images; over trainings and images where answers of "
        "several trainings are compared. *Trainings*: how many the numbers rest on; 0 where none "
        "of this run matters. Analyses look at one checkpoint, of one training.",
        "",
        *_table(
            ("", "claim", "verdict", "decided by", "measured", "detects", "images", "trainings",
             "built in"),
            (
                (
                    f"[{row['number']}](#claim-{row['number']})", row["claim"],
                    f"**{row['verdict']}**", f"{row['part']}: {reason(row)}", measured(row),
                    size(row, "detectable"), row["n_images"] or "–", row["trainings"],
                    row["built_in"],
                )
                for row in claims.to_dict("records")
            ),
        ),
    ]  # fmt: skip
    for row in claims.to_dict("records"):
        own = parts[parts["number"] == row["number"]].to_dict("records")
        lines += _claim(row, own)
    return "\n".join(lines)


def _claim(row: Mapping[Any, Any], parts: list[dict[Any, Any]]) -> list[str]:
    lines = [
        f"## Claim {row['number']}",
        "",
        row["claim"],
        "",
        f"*The paper*: {row['paper']}.",
        "",
        f"*Limits and smallest effects of interest*: {row['basis']}",
        "",
        f"**{str(row['verdict']).capitalize()}.** {apart(row)}".rstrip(),
        "",
        *_table(
            ("part", "measured", "criterion", "smallest of interest", "detects", "verdict",
             "images", "trainings"),
            (
                (part["part"], measured(part), criterion(part), size(part, "smallest"),
                 size(part, "detectable"), f"{part['verdict']}: {reason(part)}",
                 part["n_images"] or "–", part["trainings"])
                for part in parts
            ),
        ),
    ]  # fmt: skip
    if row["why_built_in"]:
        lines += [f"*Built in: {row['built_in']}.* {row['why_built_in']}", ""]
    return lines


def apart(row: Mapping[Any, Any]) -> str:
    """Whether its parts compare models that were trained apart; nothing where none does."""
    return {
        "yes": "It compares models that were trained apart: one training of each decides nothing.",
        "partly": "Some of its parts compare models that were trained apart, which one training of "
        "each does not decide; the others are inside one model.",
    }.get(str(row["trained_apart"]), "")


def _table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    lines = [list(heads), ["---"] * len(list(heads)), *rows]
    return [*(f"| {' | '.join(map(_cell, line))} |" for line in lines), ""]


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
