"""All analyses: each checkpoint is walked once, then every analysis summarizes its rows."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import Workspace, digest_bytes, digest_folder
from pipelines.analyze.checkpoints import Trainings
from pipelines.analyze.sweep import sweep_tau

if TYPE_CHECKING:
    from diysink.analysis import Analysis
    from diysink.analysis.base import Context
    from pipelines.align.settings import Align
    from pipelines.analyze.settings import Analyze
    from pipelines.evaluate.settings import Evaluate
    from pipelines.shared import Model

logger = logging.getLogger(__name__)


def run_analyses(
    records: Path,
    finetuned_models: Path,
    sink_profiles: Path,
    aligned_connectors: Path,
    predictions: pd.DataFrame,
    image_labels: pd.DataFrame,
    model: "Model",
    align: "Align",
    evaluate: "Evaluate",
    analyze: "Analyze",
    seed: int,
    workspace: str,
    device: str,
) -> dict[str, Any]:
    """Every analysis that is not null.

    Returns:
        ``<name>_analysis``: its tidy table, empty where it was left out; ``<name>_rows`` of those
        that keep their rows; ``analyses_left_out``: why, by name; ``tau_sweep_analysis``: see
        :func:`sweep_tau`.
    """
    from diysink.analysis import ANALYSES

    context = context_of(finetuned_models, predictions, image_labels, evaluate, analyze, seed)
    analyses = {
        name: ANALYSES[name](settings, context) for name, settings in analyze.analyses().items()
    }
    trainings = Trainings(finetuned_models, sink_profiles, aligned_connectors, model, align, device)
    measure = partial(
        measure_analyses,
        records=records,
        trainings=trainings,
        analyze=analyze,
        seed=seed,
        workspace=workspace,
    )
    rows, reasons = measure(analyses)
    for name, reason in reasons.items():
        logger.warning("The analysis %s is left out: %s", name, reason)
    swept = sweep_tau(analyses, analyze.sweep, measure, finetuned_models)
    return _results(ANALYSES, analyses, rows, reasons) | {"tau_sweep_analysis": swept}


def measure_analyses(
    analyses: "Mapping[str, Analysis[Any]]",
    *,
    records: Path,
    trainings: Trainings,
    analyze: "Analyze",
    seed: int,
    workspace: str,
    tau: float = 1.0,
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Rows of every analysis, with a column ``checkpoint``, and why some were left out.

    Args:
        analyses: by name.
        records: folder of all splits.
        trainings: where checkpoints come from.
        analyze: parameters of all analyses: split, batch_size, max_new_tokens.
        seed: of random-matched tokens.
        workspace: folder of unfinished work.
        tau: factor on the models' tau.
    """
    from diysink.analysis.diysink_subject import DIYSinkSubject
    from diysink.analysis.driver import Walk
    from diysink.records import Records

    shared = [analyze.split, analyze.batch_size, analyze.max_new_tokens]
    split = Records(records / analyze.split)
    rows: dict[str, list[pd.DataFrame]] = {}
    reasons = {
        name: reason
        for name, one in analyses.items()
        if one.unit is None and (reason := one.lacks())
    }
    for (connector, number, stage), group in _by_checkpoint(analyses).items():
        context = next(iter(group.values())).context
        inputs = {
            "records": digest_folder(records),
            "checkpoint": [connector, number, stage, trainings.digest(stage)],
            "tau": tau,
            "settings": {name: asdict(one.settings) for name, one in group.items()},
            "context": {"massive": asdict(context.massive), "seed": seed, "shared": shared},
            "labels": digest_bytes(context.labels.to_csv().encode()),
            "templates": asdict(context.templates),
        }
        walk = Walk(
            lambda at=(connector, number, stage): DIYSinkSubject(trainings.open(*at), tau),  # type: ignore[misc]
            split,
            Workspace(workspace, "analyze", inputs),
            batch_size=analyze.batch_size,
            max_new_tokens=analyze.max_new_tokens,
            seed=seed,
        )
        measured, lacking = walk.measure(group)
        reasons |= lacking
        for name, table in measured.items():
            rows.setdefault(name, []).append(table.assign(checkpoint=stage))
    return {name: pd.concat(tables, ignore_index=True) for name, tables in rows.items()}, reasons


def _by_checkpoint(
    analyses: "Mapping[str, Analysis[Any]]",
) -> "dict[tuple[str, int, str], dict[str, Analysis[Any]]]":
    groups: dict[tuple[str, int, str], dict[str, Analysis[Any]]] = {}
    for name, one in analyses.items():
        if one.unit is not None:
            for stage in one.settings.checkpoints:
                key = (one.settings.connector, one.settings.seed, stage)
                groups.setdefault(key, {})[name] = one
    return groups


def _results(
    known: "Mapping[str, type[Analysis[Any]]]",
    analyses: "Mapping[str, Analysis[Any]]",
    rows: Mapping[str, pd.DataFrame],
    reasons: dict[str, str],
) -> dict[str, Any]:
    results: dict[str, Any] = {"analyses_left_out": reasons}
    for name, kind in known.items():
        measured = rows.get(name, pd.DataFrame())
        there = name in analyses and name not in reasons
        results[f"{name}_analysis"] = (
            analyses[name].summarize(measured) if there else pd.DataFrame()
        )
        if kind.keep_rows:
            results[f"{name}_rows"] = measured
    return results


def context_of(
    finetuned_models: Path,
    predictions: pd.DataFrame,
    image_labels: pd.DataFrame,
    evaluate: "Evaluate",
    analyze: "Analyze",
    seed: int,
) -> "Context":
    """What all analyses share."""
    from transformers import AutoTokenizer

    from diysink.analysis.base import Context
    from diysink.resampling import Bootstrap

    any_model = next(iter(sorted(finetuned_models.glob("*/seed*"))))
    return Context(
        bootstrap=Bootstrap(analyze.resamples, analyze.level, seed),
        seed=seed,
        massive=analyze.massive,
        labels=image_labels,
        predictions=predictions,
        templates=evaluate.cot,
        tokenizer=AutoTokenizer.from_pretrained(any_model, trust_remote_code=False),
    )
