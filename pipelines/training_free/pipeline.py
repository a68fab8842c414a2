"""Wiring of the training-free table."""

from kedro.pipeline import Pipeline, node

from pipelines.training_free.nodes import answer_variants, calibrate_sinks, summarize_variants


def create_pipeline() -> Pipeline:
    """Records and a model's name in; its sinks, all variants' answers and the table out."""
    return Pipeline(
        [
            node(
                calibrate_sinks,
                [
                    "records",
                    "params:lvlm",
                    "params:training_free",
                    "params:seed",
                    "params:device",
                    "params:workspace",
                ],
                "training_free_sinks",
                name="calibrate_training_free",
            ),
            node(
                answer_variants,
                [
                    "records",
                    "training_free_sinks",
                    "params:lvlm",
                    "params:training_free",
                    "params:seed",
                    "params:device",
                    "params:workspace",
                ],
                ["training_free_predictions", "training_free_refused"],
                name="answer_training_free",
            ),
            node(
                summarize_variants,
                [
                    "training_free_predictions",
                    "training_free_refused",
                    "training_free_sinks",
                    "params:lvlm",
                    "params:training_free",
                    "params:seed",
                ],
                ["training_free_results", "training_free_accuracy", "training_free_metrics"],
                name="summarize_training_free",
            ),
        ]
    )
