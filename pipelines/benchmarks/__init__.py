"""The ``benchmarks`` stage, on request: the paper's benchmarks, in the paper's own form."""

from pipelines.benchmarks.pipeline import create_pipeline

__all__ = ["create_pipeline"]
