"""Wiring of the promotion."""

from kedro.pipeline import Pipeline, node

from pipelines.promote.nodes import decide


def create_pipeline() -> Pipeline:
    """The registry's challenger and champion in; the decision out."""
    return Pipeline(
        [
            node(
                decide,
                ["params:promote", "params:register", "params:seed"],
                "decision",
                name="decide",
            )
        ]
    )
