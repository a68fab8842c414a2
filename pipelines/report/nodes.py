"""Everything the run made, as one page."""

from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.card import says_induced
from pipelines.learning import folder_digest

Curves = pd.DataFrame


def gather_curves(align: Curves, finetune: Curves, reweight: Curves) -> dict[str, Curves]:
    """Training curves by stage."""
    return {"align": align, "finetune": finetune, "reweight": reweight}


def gather_sinks(
    verdicts: pd.DataFrame, evidence: pd.DataFrame, histogram: pd.DataFrame, examples: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """What was measured of the encoders, by the name that the report has for it."""
    return {
        "sink_verdicts": verdicts,
        "sink_evidence": evidence,
        "sink_histogram": histogram,
        "sink_examples": examples,
    }


def gather_analyses(
    token_ablation: pd.DataFrame | None,
    dissociation: pd.DataFrame | None,
    attention_by_norm: pd.DataFrame | None,
    attention_by_kind: pd.DataFrame | None,
    attention_by_weight: pd.DataFrame | None,
) -> dict[str, pd.DataFrame | None]:
    """The analyses that were run, by the name that the report has for them."""
    return {
        "token_ablation": token_ablation,
        "dissociation": dissociation,
        "attention_by_norm": attention_by_norm,
        "attention_by_kind": attention_by_kind,
        "attention_by_weight": attention_by_weight,
    }


def gather_evidence(*tables: pd.DataFrame | None) -> dict[str, pd.DataFrame | None]:
    """The tables named in ``EVIDENCE``, in that order, by name."""
    return dict(zip(EVIDENCE, tables, strict=True))


EVIDENCE = (
    "claims",
    "claim_parts",
    "planned_comparisons",
    "robustness",
    "costs",
    "norm_attention",
    "attention_curve",
    "attention_by_layer",
    "sink_dimensions",
    "dimension_overlap",
    "criteria",
    "criteria_agreement",
    "sink_function",
    "replacement",
    "probes",
    "probe_contrasts",
    "relevance",
    "relevance_examples",
    "words",
    "word_naming",
    "word_naming_by_attribute",
    "taxonomy",
    "taxonomy_agreement",
)
"""Tables of the claims and of the analyses that the page has sections for."""


def gather_provenance(
    records: Path,
    finetuned_models: Path,
    validation: dict[str, Any],
    registration: dict[str, Any] | None,
    *parameters: Any,
) -> dict[str, Any]:
    """Where the results come from.

    Args:
        records: the records' folder.
        finetuned_models: the models' folder.
        validation: what was checked of the records.
        registration: which registered version this is.
        parameters: values of the parameters named in ``PARAMETERS``, in that order.
    """
    from diysink.artifact import read_manifest

    adopted = "checkpoint" in read_manifest(finetuned_models).get("inputs", {})
    elsewhere = ("align", "finetune") if adopted else ("adopt",)  # not what made these models
    known = dict(zip(PARAMETERS, parameters, strict=True))
    return {
        "validation": validation,
        "registration": registration,
        "digests": {
            "records": folder_digest(records),
            "fine-tuned models": folder_digest(finetuned_models),
        },
        "parameters": {name: said for name, said in known.items() if name not in elsewhere},
    }


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
    "analyze",
)


def write_report(
    evaluation_results: dict[str, Any],
    predictions: pd.DataFrame,
    sinks: dict[str, Any],
    curves: dict[str, Any],
    analyses: dict[str, Any],
    evidence: dict[str, Any],
    provenance: dict[str, Any],
    timings: dict[str, Any],
    runs: dict[str, Any],
    report: dict[str, Any],
    model: dict[str, Any],
    measuring: dict[str, Any],
    analyze: dict[str, Any],
) -> str:
    """The page.

    Timings and runs come to this node and no earlier one: it is the last to start, so that all
    stages before it have theirs. An older report's own are left out. ``measuring`` are the
    parameters of the stage that measures sinks: which encoders should have none.
    """
    from diysink.claims import Roles
    from diysink.report import Inputs, render

    claims = analyze["claims"]
    return render(
        Inputs(
            title=report["title"],
            induced=says_induced(model["encoder"]),
            results=evaluation_results,
            predictions=predictions,
            evidence=evidence,
            encoder=model["profile"],
            controls=tuple(
                name for name, verdict in (measuring["expect"] or {}).items() if verdict == "none"
            ),
            roles=None if claims is None else Roles(**claims["roles"]),
            curves=curves,
            differing=report["differing"],
            timings={name: value for name, value in timings.items() if name != "report"},
            runs={name: value for name, value in runs.items() if name != "report"},
            **sinks,
            **analyses,
            **provenance,
        )
    )
