"""All that a report is made from. What may be missing is None or empty, and the page says so."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Inputs:
    """Tables and facts of one run.

    Attributes:
        title: of the page.
        results: the evaluation's ``accuracy``, ``subtasks``, ``comparisons`` (records), ``verdict``
            (lines) and ``settings`` (baseline, candidate, level, resamples).
        induced: the encoder's sinks were induced in training: a model organism, no evidence.
        predictions: one row per variant, seed and item.
        tables: of sinks and of claims, by the name of the dataset.
        curves: per training stage, one row a unit and step: ``unit, step, loss``; with the numbers
            of dialogues, ``dialogues, truncated, left_out``, where they are known.
        analyses: the tidy table of each analysis, by name.
        left_out: why analyses were left out, by name.
        tuning: what the search over settings found; None: there was none.
        validation: what was checked of the records: ``passed, splits, quarantined, rules``.
        registration: which version of which registered model this is.
        timings: per stage, ``seconds``, ``peak_bytes``, ``finished``.
        runs: per stage, ``run_id``, ``code`` and ``environment``.
        digests: of data and models, by what they are of.
        parameters: as the run was given them.
        differing: how many questions to show that candidate and baseline answer differently.
    """

    title: str
    results: Mapping[str, Any]
    induced: bool = False
    predictions: pd.DataFrame | None = None
    tables: Mapping[str, pd.DataFrame | None] = field(default_factory=dict)
    curves: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    analyses: Mapping[str, pd.DataFrame | None] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    tuning: Mapping[str, Any] | None = None
    validation: Mapping[str, Any] | None = None
    registration: Mapping[str, Any] | None = None
    timings: Mapping[str, Any] = field(default_factory=dict)
    runs: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    differing: int = 12

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of one of the ``tables``; none of a table that is missing."""
        return records(self.tables.get(name))


def records(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """The rows of a table; none of a table that is missing."""
    if table is None:
        return []
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
