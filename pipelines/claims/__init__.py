"""The ``claims`` stage."""

from pipelines.claims.pipeline import create_pipeline

__all__ = ["create_pipeline"]
