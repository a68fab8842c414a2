"""The ``adopt`` stage, on request: a checkpoint from elsewhere, in place of training."""

from pipelines.adopt.pipeline import create_pipeline

__all__ = ["create_pipeline"]
