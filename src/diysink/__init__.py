"""DIYSink: ViT sinks in large vision-language models (arXiv 2510.08510)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diysink.registration import register_when_asked

if TYPE_CHECKING:
    from diysink.model import (
        DIYSinkConfig,
        DIYSinkForConditionalGeneration,
        DIYSinkProcessor,
        from_llava,
    )

__version__ = "0.1.0"
__all__ = [
    "DIYSinkConfig",
    "DIYSinkForConditionalGeneration",
    "DIYSinkProcessor",
    "from_llava",
]

register_when_asked()


def __getattr__(name: str) -> Any:
    """The model's names, imported when they are first used (see `diysink.registration`)."""
    if name in __all__:
        return getattr(import_module("diysink.model"), name)
    raise AttributeError(f"module 'diysink' has no attribute {name!r}")
