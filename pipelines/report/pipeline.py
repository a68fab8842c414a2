"""Wiring of the report."""

from kedro.pipeline import Pipeline, node

from pipelines.report.nodes import (
    EVIDENCE,
    PARAMETERS,
    gather_analyses,
    gather_curves,
    gather_evidence,
    gather_provenance,
    gather_sinks,
    write_report,
)


def create_pipeline() -> Pipeline:
    """All that a run made in, one HTML page out."""
    return Pipeline(
        [
            node(
                gather_sinks,
                ["sink_verdicts", "sink_evidence", "sink_histogram", "sink_examples"],
                "report_sinks",
                name="gather_sinks",
            ),
            node(
                gather_curves,
                ["align_curves", "finetune_curves", "reweight_curves"],
                "report_curves",
                name="gather_curves",
            ),
            node(
                gather_analyses,
                [
                    "token_ablation",
                    "dissociation",
                    "attention_by_norm",
                    "attention_by_kind",
                    "attention_by_weight",
                ],
                "report_analyses",
                name="gather_analyses",
            ),
            node(
                gather_evidence,
                list(EVIDENCE),
                "report_evidence",
                name="gather_evidence",
            ),
            node(
                gather_provenance,
                [
                    "records",
                    "finetuned_models",
                    "validation",
                    "registration",
                    *(f"params:{name}" for name in PARAMETERS),
                ],
                "report_provenance",
                name="gather_provenance",
            ),
            node(
                write_report,
                [
                    "evaluation_results",
                    "predictions",
                    "report_sinks",
                    "report_curves",
                    "report_analyses",
                    "report_evidence",
                    "report_provenance",
                    "timings",
                    "runs",
                    "params:report",
                    "params:model",
                    "params:sinks",
                    "params:analyze",
                ],
                "report",
                name="write_report",
            ),
        ]
    )
