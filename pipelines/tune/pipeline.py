"""Wiring of the search."""

from kedro.pipeline import Pipeline, node

from pipelines.tune.nodes import search_settings, write_preset


def create_pipeline() -> Pipeline:
    """Fine-tuned models and a validation split in; trials, their summary and a preset out."""
    return Pipeline(
        [
            node(
                search_settings,
                [
                    "records",
                    "finetuned_models",
                    "params:model",
                    "params:evaluate",
                    "params:reweight",
                    "params:tune",
                    "params:seeds",
                    "params:seed",
                    "params:device",
                    "params:workspace",
                    "params:engine",
                    "params:ray",
                ],
                ["tuning_trials", "tuning_results"],
                name="search_settings",
            ),
            node(
                write_preset,
                ["tuning_results", "params:evaluate", "params:tune", "params:env"],
                "tuned_preset",
                name="write_preset",
            ),
        ]
    )
