"""The ``evaluate`` stage."""

from pipelines.evaluate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
