"""DIYSink: ViT sinks in large vision-language models (arXiv 2510.08510)."""

__version__ = "0.1.0"
