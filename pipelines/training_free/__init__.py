"""The ``training_free`` stage: any vision-language model, stock and changed; on request."""

from pipelines.training_free.pipeline import create_pipeline

__all__ = ["create_pipeline"]
