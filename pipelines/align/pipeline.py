"""Wiring of stage 1."""

from kedro.pipeline import Pipeline, node

from pipelines.align.nodes import align_connectors


def create_pipeline() -> Pipeline:
    """Records and sink profile in, one trained connector per kind and seed out."""
    return Pipeline(
        [
            node(
                align_connectors,
                [
                    "records",
                    "sink_profiles",
                    "params:model",
                    "params:align",
                    "params:seeds",
                    "params:num_processes",
                    "params:workspace",
                    "params:engine",
                    "params:ray",
                ],
                ["aligned_connectors", "align_curves"],
                name="align_connectors",
            )
        ]
    )
