"""The ``inspect`` stage, on request: the sink census of any vision encoder."""

from pipelines.inspect.pipeline import create_pipeline

__all__ = ["create_pipeline"]
