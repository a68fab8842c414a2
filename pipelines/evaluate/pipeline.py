"""Wiring of the evaluation."""

from kedro.pipeline import Pipeline, node

from pipelines.evaluate.nodes import measure_lvlm_sinks, predict_answers, summarize
from pipelines.evaluate.truth import find_simple_images


def create_pipeline() -> Pipeline:
    """Models in, per-item predictions and the table of results out."""
    return Pipeline(
        [
            node(
                measure_lvlm_sinks,
                [
                    "records",
                    "params:lvlm",
                    "params:evaluate",
                    "params:device",
                    "params:workspace",
                ],
                "lvlm_sinks",
                name="measure_lvlm_sinks",
            ),
            node(
                find_simple_images,
                ["records", "params:prepare", "params:evaluate", "params:seed"],
                "simple_images",
                name="find_simple_images",
            ),
            node(
                predict_answers,
                [
                    "records",
                    "finetuned_models",
                    "reweightings",
                    "lvlm_sinks",
                    "simple_images",
                    "convergence",
                    "params:model",
                    "params:lvlm",
                    "params:evaluate",
                    "params:seeds",
                    "params:seed",
                    "params:workspace",
                    "params:device",
                    "params:engine",
                    "params:ray",
                ],
                ["predictions", "refused_variants"],
                name="predict_answers",
            ),
            node(
                summarize,
                [
                    "predictions",
                    "refused_variants",
                    "lvlm_sinks",
                    "params:lvlm",
                    "params:evaluate",
                    "params:seed",
                ],
                ["evaluation_results", "evaluation_metrics"],
                name="summarize",
            ),
        ]
    )
