"""Wiring of adoption: it publishes what ``align`` and ``finetune`` do."""

from kedro.pipeline import Pipeline, node

from pipelines.adopt.nodes import adopt_checkpoint


def create_pipeline() -> Pipeline:
    """A checkpoint's name and its sink profile in, models as the other stages read them out."""
    return Pipeline(
        [
            node(
                adopt_checkpoint,
                [
                    "sink_profiles",
                    "params:model",
                    "params:adopt",
                    "params:seeds",
                    "params:workspace",
                ],
                [
                    "aligned_connectors",
                    "align_curves",
                    "finetuned_models",
                    "finetune_curves",
                    "convergence",
                ],
                name="adopt_checkpoint",
            )
        ]
    )
