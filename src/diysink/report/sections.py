"""The page's parts that come from claims and from the tables of the analyses.

A section stands on the page whether or not its table is there: what is missing is named. Under the
figures stand the first rows of the table.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from diysink.analysis import ANALYSES
from diysink.claims import apart, criterion, measured, reason, sentences, size
from diysink.report import figures
from diysink.report.inputs import Inputs

ROWS = 60  # of a table on the page; the file has all


@dataclass(frozen=True)
class Sheet:
    """A table as it is shown.

    Attributes:
        name: of the table, and of its file.
        columns: names.
        rows: the first ones.
        total: how many there are.
    """

    name: str
    columns: list[str]
    rows: list[list[Any]]
    total: int


@dataclass(frozen=True)
class Section:
    """One analysis.

    Attributes:
        name: its place on the page.
        title: heading.
        question: the question, and how to read the answer.
        drawings: its figures.
        sheets: its tables.
        missing: tables that were not made.
    """

    name: str
    title: str
    question: str
    drawings: list[figures.Drawing] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def sections(inputs: Inputs) -> list[Section]:
    """A section for each analysis."""
    level = float(inputs.results["settings"]["level"])
    return [_analysis(name, inputs, level) for name in ANALYSES]


def _analysis(name: str, inputs: Inputs, level: float) -> Section:
    """One analysis: its figures and its table, or why there is none."""
    kind, table = ANALYSES[name], inputs.analyses.get(name)
    if table is None or table.empty:
        return Section(
            name, kind.title, kind.question, missing=[inputs.left_out.get(name, f"{name}_analysis")]
        )
    drawings = kind.figures(table, level)
    return Section(name, kind.title, kind.question, drawings, [sheet(name, table)])


def searches(inputs: Inputs) -> list[dict[str, Any]]:
    """What the search over settings found, study by study, with its figures."""
    trials = inputs.tables.get("tuning_trials")
    if inputs.tuning is None or trials is None:
        return []
    return [
        {
            **found,
            "study": study,
            "drawings": figures.draw_search(
                study, trials[trials["study"] == study], found["search"]["default"]
            ),
        }
        for study, found in inputs.tuning["studies"].items()
    ]


def sheet(name: str, table: pd.DataFrame) -> Sheet:
    """The first rows of a table; columns that hold lists or files are left out."""
    columns = [
        str(column)
        for column in table.columns
        if not table[column].map(lambda value: isinstance(value, list | bytes | np.ndarray)).any()
    ]
    shown = table[columns].head(ROWS)
    return Sheet(name, columns, shown.to_numpy(dtype=object).tolist(), len(table))


def claims(inputs: Inputs) -> dict[str, Any]:
    """Verdicts with their parts, all of them in a few sentences, and robustness."""
    rows, parts = inputs.rows("claim_verdicts"), inputs.rows("claim_parts")
    robust = inputs.rows("robustness")
    level = float(inputs.results["settings"]["level"])
    judged = [
        {
            **row,
            **_said(row),
            "apart": apart(row),
            "parts": [
                {**part, **_said(part), "criterion": criterion(part)}
                for part in parts
                if part["number"] == row["number"]
            ],
        }
        for row in rows
    ]
    return {
        "claims": judged,
        "claim_sentences": sentences(pd.DataFrame(rows)) if rows else [],
        "robustness": figures.draw_robustness(robust, level) if robust else None,
    }


def _said(row: dict[str, Any]) -> dict[str, str]:
    """The numbers and the finding of a claim, or of a part, as they are read."""
    return {
        "measured": measured(row),
        "least": size(row, "smallest"),
        "detects": size(row, "detectable"),
        "reason": reason(row),
    }
