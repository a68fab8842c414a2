"""The ``dose`` stage."""

from pipelines.dose.pipeline import create_pipeline

__all__ = ["create_pipeline"]
