"""DIYSink: ViT sinks in large vision-language models (arXiv 2510.08510)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diysink.registration import register_when_asked

if TYPE_CHECKING:
    from diysink.interventions import (
        VAR,
        Drop,
        Keep,
        Matched,
        Replace,
        Reposition,
        Scale,
        intervene,
    )
    from diysink.model import (
        DIYSinkConfig,
        DIYSinkForConditionalGeneration,
        DIYSinkProcessor,
        from_llava,
    )

__version__ = "0.1.0"
__all__ = [
    "VAR",
    "DIYSinkConfig",
    "DIYSinkForConditionalGeneration",
    "DIYSinkProcessor",
    "Drop",
    "Keep",
    "Matched",
    "Replace",
    "Reposition",
    "Scale",
    "from_llava",
    "intervene",
]
_OF_INTERVENTIONS = {
    "VAR",
    "Drop",
    "Keep",
    "Matched",
    "Replace",
    "Reposition",
    "Scale",
    "intervene",
}

register_when_asked()


def __getattr__(name: str) -> Any:
    """Names of other rooms, imported when they are first used (see `diysink.registration`)."""
    if name in __all__:
        room = "interventions" if name in _OF_INTERVENTIONS else "model"
        return getattr(import_module(f"diysink.{room}"), name)
    raise AttributeError(f"module 'diysink' has no attribute {name!r}")
