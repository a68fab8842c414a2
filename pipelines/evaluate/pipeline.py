"""Wiring of the evaluation."""

from kedro.pipeline import Pipeline, node

from pipelines.evaluate.nodes import predict_answers, summarize


def create_pipeline() -> Pipeline:
    """Models in, per-item predictions and the table of results out."""
    return Pipeline(
        [
            node(
                predict_answers,
                [
                    "records",
                    "finetuned_models",
                    "reweightings",
                    "params:model",
                    "params:evaluate",
                    "params:seeds",
                    "params:seed",
                    "params:workspace",
                    "params:device",
                ],
                "predictions",
                name="predict_answers",
            ),
            node(
                summarize,
                ["predictions", "params:evaluate", "params:seed"],
                ["evaluation_results", "evaluation_metrics"],
                name="summarize",
            ),
        ]
    )
