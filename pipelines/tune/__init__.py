"""The ``tune`` stage, on request: settings searched on a validation split."""

from pipelines.tune.pipeline import create_pipeline

__all__ = ["create_pipeline"]
