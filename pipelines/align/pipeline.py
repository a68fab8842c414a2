"""Wiring of the ``align`` stage."""

from kedro.pipeline import Pipeline


def create_pipeline() -> Pipeline:
    """The ``align`` stage."""
    return Pipeline([])
