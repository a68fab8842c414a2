"""From tables to the page: every figure and table that there is data for, verdict first.

All text is data to the template and is escaped there; only figures, made here, are markup. A
content security policy forbids the page to ask for anything outside itself.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from diysink.evaluation.verdict import ends, one_training, outcome, over, p_value, points
from diysink.report import figures, tables
from diysink.report.inputs import Inputs
from diysink.report.sections import claims, searches, sections


def render(inputs: Inputs) -> str:
    """The report as one HTML file."""
    here = files("diysink.report")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        ends=ends,
        percent=lambda share: f"{100 * share:.1f}",
        points=points,
        p=lambda p: p_value(p).removeprefix("= "),
        number=_number,
        seconds=lambda seconds: f"{seconds:,.1f}",
        mebibytes=lambda size: f"{size / 2**20:,.0f}",
        cell=_cell,
        json=lambda value: json.dumps(value, indent=2, ensure_ascii=False, default=str),
    )
    template = environment.from_string((here / "page.html.jinja").read_text("utf-8"))
    return template.render(
        css=(here / "page.css").read_text("utf-8"), i=inputs, **_results(inputs), **_sinks(inputs),
        **_training(inputs), **claims(inputs), sections=sections(inputs), searches=searches(inputs),
        **_provenance(inputs),
    )  # fmt: skip


def _results(inputs: Inputs) -> dict[str, Any]:
    results = inputs.results
    settings, accuracy = results["settings"], results["accuracy"]
    differences = results["comparisons"]
    return {
        "settings": settings,
        "accuracy": figures.draw_accuracy(accuracy, settings),
        "accuracy_grid": tables.grid(accuracy),
        "subtask_grid": tables.grid(results["subtasks"], by="subtask"),
        "differences": figures.draw_differences(differences, settings),
        "over": over(accuracy),
        "comparisons": _decided(differences, settings["level"]),
        "likelihoods": _decided(results.get("likelihoods", ()), settings["level"]),
        "choices": tables.choices(inputs.predictions),
        "routes": results["routes"],
        "differing": tables.differing(
            inputs.predictions, settings["candidate"], settings["baseline"], inputs.differing
        ),
    }


def _decided(rows: Iterable[Mapping[str, Any]], level: float) -> list[dict[str, Any]]:
    """Rows of comparisons with what they show."""
    return [{**row, "outcome": outcome(row, level), "once": one_training(row)} for row in rows]


def _training(inputs: Inputs) -> dict[str, Any]:
    curves = [
        figures.draw_curves(stage, table) for stage, table in inputs.curves.items() if len(table)
    ]
    dose = inputs.tables.get("dose_response")
    doses = [] if dose is None or dose.empty else [t for _, t in dose.groupby("dose", sort=False)]
    return {
        "curves": curves,
        "convergence": inputs.rows("convergence"),
        "too_long": tables.too_long(inputs.curves),
        "doses": [figures.draw_dose(table) for table in doses],
        "dose_recorded": ""
        if not doses
        else ", ".join(dict.fromkeys(one["recorded"].iloc[0] for one in doses)),
    }


def _sinks(inputs: Inputs) -> dict[str, Any]:
    histograms: dict[str, list[dict[str, Any]]] = {}
    for row in inputs.rows("sink_histogram"):
        histograms.setdefault(row["encoder"], []).append(row)
    evidence: dict[str, list[dict[str, Any]]] = {}
    for row in inputs.rows("sink_evidence"):
        evidence.setdefault(row["encoder"], []).append(row)
    verdicts = inputs.rows("sink_verdicts")
    return {
        "encoders": [
            {
                "verdict": verdict,
                "figure": figures.draw_norms(verdict, histograms[verdict["encoder"]])
                if verdict["encoder"] in histograms
                else None,
                "evidence": evidence.get(verdict["encoder"], []),
            }
            for verdict in sorted(verdicts, key=lambda verdict: not verdict["found"])
        ],
        "examples": _by_encoder(figures.draw_examples(inputs.rows("sink_examples"))),
    }


def _by_encoder(examples: Sequence[figures.Example]) -> dict[str, list[figures.Example]]:
    grouped: dict[str, list[figures.Example]] = {}
    for example in examples:
        grouped.setdefault(example.encoder, []).append(example)
    return grouped


def _provenance(inputs: Inputs) -> dict[str, Any]:
    stages = tables.stages(inputs.timings, inputs.runs)
    environments = [run["environment"] for run in inputs.runs.values() if run.get("environment")]
    revisions = sorted({row["code"]["revision"] for row in stages if row["code"].get("revision")})
    finished = [timing["finished"] for timing in inputs.timings.values() if "finished" in timing]
    return {
        "stages": stages,
        "total": sum(row["seconds"] or 0.0 for row in stages),
        "environment": environments[-1] if environments else None,
        "environments": len({json.dumps(one, sort_keys=True) for one in environments}),
        "revisions": revisions,
        "dirty": any(row["code"].get("dirty") for row in stages),
        "finished": max(finished, default=None),
    }


def _number(value: Any, digits: int = 3) -> str:
    """A number with few digits; a dash where there is none."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:.{digits}g}"


def _cell(value: Any) -> str:
    """A value of any table, short."""
    match value:
        case float():
            return _number(value)
        case list() | tuple():
            return ", ".join(_cell(one) for one in value)
        case _:
            return "–" if value is None else str(value)
