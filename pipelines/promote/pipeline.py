"""Wiring of the promotion."""

from kedro.pipeline import Pipeline, node

from pipelines.promote.nodes import decide


def create_pipeline() -> Pipeline:
    """What was registered and the registry's champion in; the decision out."""
    return Pipeline(
        [
            node(
                decide,
                ["params:promote", "params:register", "params:seed", "registration"],
                "decision",
                name="decide",
            )
        ]
    )
