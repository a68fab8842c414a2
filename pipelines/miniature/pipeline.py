"""Wiring of the miniature's build."""

from kedro.pipeline import Pipeline, node

from pipelines.miniature.nodes import build_miniature


def create_pipeline() -> Pipeline:
    """Parameters in; four Hugging Face folders and their measured figures out."""
    return Pipeline(
        [
            node(
                build_miniature,
                ["params:miniature", "params:seed", "params:workspace"],
                ["miniature_models", "miniature_figures"],
                name="build_miniature",
            )
        ]
    )
