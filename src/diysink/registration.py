"""``import diysink`` makes transformers' Auto classes know DIYSink, and costs nothing till then.

Importing the model takes seconds (torch, transformers), and who only reads records, or starts a
pipeline, should not pay for it. So importing diysink imports neither. When transformers defines
its Auto classes, before or after, it is given two stand-ins, which become the real configuration
and the real processor as soon as anything is asked of them; the model is registered with those.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any


class Later(type):
    """A class that is not imported yet: any use of it imports and uses the one of its name."""

    def __getattr__(cls, name: str) -> Any:
        return getattr(_real(cls), name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """An instance of the real class."""
        return _real(cls)(*args, **kwargs)


def _real(stand_in: type) -> Any:
    # Importing the model registers the real classes in place of the stand-ins.
    return getattr(import_module("diysink.model"), stand_in.__name__)


CONFIG = Later("DIYSinkConfig", (), {})
PROCESSOR = Later("DIYSinkProcessor", (), {})
AUTO = "transformers.models.auto"
DEFINES: dict[str, Callable[[Any], None]] = {
    f"{AUTO}.configuration_auto": lambda auto: auto.AutoConfig.register("diysink", CONFIG),
    f"{AUTO}.processing_auto": lambda auto: auto.AutoProcessor.register(CONFIG, PROCESSOR),
}
"""What to do once a module of transformers has been imported."""


class _Loader(SourceFileLoader):
    """Loads a module as ever, then does what `DEFINES` says."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        DEFINES[module.__name__](module)


class _Finder(MetaPathFinder):
    """Finds the modules of `DEFINES` as ever, to be loaded by `_Loader`."""

    def find_spec(
        self, fullname: str, path: Any, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # ``path`` is a list of folders or, of a namespace package, something like one.
        if fullname not in DEFINES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def register_when_asked() -> None:
    """Give transformers the stand-ins: now where its Auto classes are there, else when they come.

    Idempotent: importing diysink anew adds nothing.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name, define in DEFINES.items():
        if name in sys.modules and "diysink.model" not in sys.modules:
            define(sys.modules[name])
