"""Wiring of the report."""

from kedro.pipeline import Pipeline, node

from pipelines.report.nodes import CURVES, PARAMETERS, TABLES, write_report
from pipelines.report.plots import PLOTS, draw_plots


def create_pipeline() -> Pipeline:
    """All that a run made in; one HTML page and a few figures as files of their own out."""
    from diysink.analysis import ANALYSES

    datasets = (
        "evaluation_results",
        "predictions",
        "records",
        "finetuned_models",
        "validation",
        "registration",
        "tuning_results",
        "timings",
        "runs",
        *CURVES.values(),
        *TABLES,
        *(f"{name}_analysis" for name in ANALYSES),
        "analyses_left_out",
    )
    inputs = {name: name for name in datasets}
    inputs |= {name: f"params:{name}" for name in ("report", *PARAMETERS)}
    drawn = ("evaluation_results", "sink_verdicts", "sink_histogram", *CURVES.values())
    return Pipeline(
        [
            node(
                draw_plots,
                {name: name for name in drawn} | {"model": "params:model"},
                {name: f"{name}_plot" for name in PLOTS},
                name="draw_plots",
            ),
            node(write_report, inputs, "report", name="write_report"),
        ]
    )
