"""Wiring of the report."""

from kedro.pipeline import Pipeline, node

from pipelines.report.nodes import CURVES, EVIDENCE, PARAMETERS, TABLES, write_report


def create_pipeline() -> Pipeline:
    """All that a run made in, one HTML page out."""
    datasets = (
        "evaluation_results",
        "predictions",
        "records",
        "finetuned_models",
        "validation",
        "registration",
        "timings",
        "runs",
        *CURVES.values(),
        *TABLES,
        *EVIDENCE,
    )
    inputs = {name: name for name in datasets}
    inputs |= {name: f"params:{name}" for name in ("report", *PARAMETERS)}
    return Pipeline([node(write_report, inputs, "report", name="write_report")])
