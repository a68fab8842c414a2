"""Wiring of what is trained to select."""

from kedro.pipeline import Pipeline, node

from pipelines.reweight.nodes import train_reweighting


def create_pipeline() -> Pipeline:
    """Fine-tuned models in, every selector once per seed out."""
    return Pipeline(
        [
            node(
                train_reweighting,
                [
                    "records",
                    "finetuned_models",
                    "params:model",
                    "params:reweight",
                    "params:seeds",
                    "params:num_processes",
                    "params:workspace",
                    "params:engine",
                    "params:ray",
                ],
                ["reweightings", "reweight_curves"],
                name="train_reweighting",
            )
        ]
    )
