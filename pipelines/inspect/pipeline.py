"""Wiring of the census."""

from kedro.pipeline import Pipeline, node

from pipelines.inspect.nodes import inspect_model


def create_pipeline() -> Pipeline:
    """A model's name and images in, a folder with the card and the page out."""
    return Pipeline(
        [
            node(
                inspect_model,
                [
                    "params:inspect",
                    "params:workspace",
                    "params:device",
                    "params:engine",
                    "params:ray",
                ],
                "census",
                name="inspect_model",
            )
        ]
    )
