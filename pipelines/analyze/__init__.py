"""The ``analyze`` stage."""

from pipelines.analyze.pipeline import create_pipeline

__all__ = ["create_pipeline"]
