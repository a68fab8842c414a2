"""Wiring of the dose-responses."""

from kedro.pipeline import Pipeline, node

from pipelines.dose.nodes import measure_doses, summarize_doses


def create_pipeline() -> Pipeline:
    """Records and sink profiles in; answers at every level, and what the doses did, out."""
    return Pipeline(
        [
            node(
                measure_doses,
                [
                    "records",
                    "sink_profiles",
                    "simple_images",
                    "params:model",
                    "params:sinks",
                    "params:align",
                    "params:finetune",
                    "params:evaluate",
                    "params:dose",
                    "params:seeds",
                    "params:seed",
                    "params:num_processes",
                    "params:workspace",
                    "params:device",
                    "params:engine",
                    "params:ray",
                ],
                "dose_predictions",
                name="measure_doses",
            ),
            node(
                summarize_doses,
                [
                    "dose_predictions",
                    "benchmark_results",
                    "params:dose",
                    "params:evaluate",
                    "params:seed",
                ],
                "dose_response",
                name="summarize_doses",
            ),
        ]
    )
