"""Wiring of stage 2."""

from kedro.pipeline import Pipeline, node

from pipelines.finetune.nodes import finetune_models


def create_pipeline() -> Pipeline:
    """Aligned connectors in, one fine-tuned model per connector and seed out."""
    return Pipeline(
        [
            node(
                finetune_models,
                [
                    "records",
                    "sink_profiles",
                    "aligned_connectors",
                    "params:model",
                    "params:finetune",
                    "params:align",
                    "params:seeds",
                    "params:num_processes",
                    "params:workspace",
                    "params:engine",
                    "params:ray",
                ],
                ["finetuned_models", "finetune_curves", "convergence"],
                name="finetune_models",
            )
        ]
    )
