"""The ``sinks`` stage."""

from pipelines.sinks.pipeline import create_pipeline

__all__ = ["create_pipeline"]
