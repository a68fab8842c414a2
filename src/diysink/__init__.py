"""DIYSink: ViT sinks in large vision-language models (arXiv 2510.08510).

This module imports neither torch nor transformers. Importing `diysink.model`, or one of its names
from here, registers DIYSink with transformers' Auto classes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diysink.census import compare
    from diysink.inspection import inspect
    from diysink.interventions import (
        VAR,
        Drop,
        Keep,
        RandomMatched,
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
    "RandomMatched",
    "Replace",
    "Reposition",
    "Scale",
    "compare",
    "from_llava",
    "inspect",
    "intervene",
]
_ELSEWHERE = {"compare": "census", "inspect": "inspection"}
_OF_MODEL = {
    "DIYSinkConfig",
    "DIYSinkForConditionalGeneration",
    "DIYSinkProcessor",
    "from_llava",
}


def __getattr__(name: str) -> Any:
    """Names of four packages, imported at their first use."""
    if name in __all__:
        package = "model" if name in _OF_MODEL else "interventions"
        package = _ELSEWHERE.get(name, package)
        return getattr(import_module(f"diysink.{package}"), name)
    raise AttributeError(f"module 'diysink' has no attribute {name!r}")
