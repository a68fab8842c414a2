"""The ``miniature`` stage."""

from pipelines.miniature.pipeline import create_pipeline

__all__ = ["create_pipeline"]
