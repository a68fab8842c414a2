"""Wiring of the ``report`` stage."""

from kedro.pipeline import Pipeline


def create_pipeline() -> Pipeline:
    """The ``report`` stage."""
    return Pipeline([])
