"""The ``align`` stage."""

from pipelines.align.pipeline import create_pipeline

__all__ = ["create_pipeline"]
