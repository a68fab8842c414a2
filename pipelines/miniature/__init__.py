"""The ``miniature`` stage: builds the shipped models again; not part of the default run."""

from pipelines.miniature.pipeline import create_pipeline

__all__ = ["create_pipeline"]
