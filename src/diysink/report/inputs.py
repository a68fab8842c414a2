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
            (sentences) and ``settings`` (baseline, candidate, level, resamples).
        induced: the encoder's sinks were induced in training: a model organism, no evidence.
        predictions: one row per variant, seed and item.
        sink_verdicts: one row an encoder.
        sink_evidence: one row a question of a verdict.
        sink_histogram: one row an encoder and bin of norms.
        sink_examples: one row an encoder and image.
        curves: per training stage, one row a unit and step: ``unit, step, loss``.
        evidence: other tables of the analyses and of the claims, by name.
        analyses: the tidy table of each analysis, by name.
        left_out: why analyses were left out, by name.
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
    sink_verdicts: pd.DataFrame | None = None
    sink_evidence: pd.DataFrame | None = None
    sink_histogram: pd.DataFrame | None = None
    sink_examples: pd.DataFrame | None = None
    curves: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    evidence: Mapping[str, pd.DataFrame | None] = field(default_factory=dict)
    analyses: Mapping[str, pd.DataFrame | None] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    validation: Mapping[str, Any] | None = None
    registration: Mapping[str, Any] | None = None
    timings: Mapping[str, Any] = field(default_factory=dict)
    runs: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    differing: int = 12


def records(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """The rows of a table; none of a table that is missing."""
    if table is None:
        return []
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
