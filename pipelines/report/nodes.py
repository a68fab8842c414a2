"""Everything the run made, as one page."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import digest_folder

if TYPE_CHECKING:
    from pipelines.report.settings import Report

CURVES = {"align": "align_curves", "finetune": "finetune_curves", "reweight": "reweight_curves"}
"""Training curves: the dataset of each stage."""

TABLES = (
    "sink_verdicts",
    "sink_evidence",
    "sink_histogram",
    "sink_examples",
    "claim_verdicts",
    "claim_parts",
    "robustness",
    "convergence",
    "dose_response",
    "tuning_trials",
)
"""Tables that the page shows, besides those of the analyses."""

PARAMETERS = (
    "seed",
    "seeds",
    "model",
    "prepare",
    "sinks",
    "adopt",
    "align",
    "finetune",
    "reweight",
    "evaluate",
    "dose",
    "analyze",
    "claims",
)
"""Parameters that the page shows."""


def write_report(
    *,
    evaluation_results: dict[str, Any],
    predictions: pd.DataFrame,
    records: Path,
    finetuned_models: Path,
    validation: dict[str, Any],
    registration: dict[str, Any] | None,
    tuning_results: dict[str, Any] | None,
    timings: dict[str, Any],
    runs: dict[str, Any],
    report: "Report",
    **others: Any,
) -> str:
    """The page.

    It is one node that takes everything from the catalog, so that a run may start at any node
    before it: what another run made is read from disk. It starts last, so that all stages before
    it have their timings and runs. An older report's own are left out.

    Args:
        evaluation_results: accuracies, differences and the verdict in words.
        predictions: one row per variant, seed and item.
        records: the records' folder.
        finetuned_models: the models' folder.
        validation: what was checked of the records.
        registration: which registered version this is; None: not registered.
        tuning_results: what the search over settings found; None: it was not run.
        timings: seconds and memory of each stage.
        runs: the MLflow run, code and environment of each stage.
        report: the page's own parameters.
        others: by name, the table of each analysis and why some were left out, the datasets named
            in ``CURVES`` and ``TABLES`` (None: not made), and the values of the parameters named
            in ``PARAMETERS``.
    """
    from diysink.analysis import ANALYSES
    from diysink.evaluation import measured, primary
    from diysink.miniature.card import is_induced
    from diysink.report import Inputs, render

    model = others["model"]
    return render(
        Inputs(
            title=report.title,
            induced=is_induced(model.encoder),
            results=evaluation_results,
            predictions=measured(primary(predictions)),
            tables={name: others[name] for name in TABLES},
            analyses={name: others[f"{name}_analysis"] for name in ANALYSES},
            left_out=others["analyses_left_out"] or {},
            curves={stage: others[name] for stage, name in CURVES.items()},
            differing=report.differing,
            validation=validation,
            registration=registration,
            tuning=tuning_results,
            timings={name: value for name, value in timings.items() if name != "report"},
            runs={name: value for name, value in runs.items() if name != "report"},
            digests={
                "records": digest_folder(records),
                "fine-tuned models": digest_folder(finetuned_models),
            },
            parameters=parameters_of(finetuned_models, {name: others[name] for name in PARAMETERS}),
        )
    )


def parameters_of(finetuned_models: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that made the models: of the training, or of an adopted checkpoint.

    Args:
        finetuned_models: the models' folder.
        parameters: all of the run, by name.
    """
    from diysink.artifact import read_manifest

    adopted = "checkpoint" in read_manifest(finetuned_models).get("inputs", {})
    elsewhere = ("align", "finetune") if adopted else ("adopt",)  # not what made these models
    plain = {
        name: value.plain() if hasattr(value, "plain") else value
        for name, value in parameters.items()
    }
    return {name: value for name, value in plain.items() if name not in elsewhere}
