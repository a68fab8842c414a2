"""The ``reweight`` stage."""

from pipelines.reweight.pipeline import create_pipeline

__all__ = ["create_pipeline"]
