"""What cannot be sent to a worker is made there, once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, TypeVar
from uuid import uuid4

T = TypeVar("T")


@dataclass(frozen=True)
class Once(Generic[T]):
    """A call whose result each process that makes it keeps: a model is loaded once.

    It is pickled as the call. An object that holds a model returns `made_there` from its
    ``__reduce__``, and so goes to workers without its weights.

    Attributes:
        call: a function of a module.
        args: can be pickled.
        key: tells it from others, in any process.
    """

    call: Callable[..., T] = field(compare=False)
    args: tuple[Any, ...] = field(default=(), compare=False)
    key: str = field(default_factory=lambda: uuid4().hex)

    def __call__(self) -> T:
        """The result; the last two are kept."""
        result: T = _made(self)
        return result


@lru_cache(maxsize=2)
def _made(once: Once[Any]) -> Any:
    return once.call(*once.args)


def made_there(source: Once[Any] | None) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """What ``__reduce__`` of an object returns that is made again where it arrives.

    Args:
        source: makes it.

    Raises:
        ValueError: there is none: the object, or a part of it, is in this process's memory alone.
    """
    if source is None:
        raise ValueError(
            "What is in this process's memory alone (a model, a processor, items of a benchmark) "
            "cannot be sent to workers. Save it and give its folder, or work in this process "
            "(workers=0)."
        )
    return _made, (source,)
