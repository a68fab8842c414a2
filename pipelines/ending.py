"""What a run holds, given back in one place however it ends."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

_held: ContextVar[ExitStack | None] = ContextVar("what the run holds", default=None)
_loose = ExitStack()  # of a run by Kedro's plain session, which tells hooks alone that it ends


def at_end(give_back: Callable[[], object]) -> None:
    """Call ``give_back`` when the run ends: with the block of `holding`, else by `end_loose`."""
    (_held.get() or _loose).callback(give_back)


def end_loose() -> None:
    """Give back what a run outside `holding` holds."""
    _loose.close()


@contextmanager
def holding() -> Iterator[None]:
    """What is promised to `at_end` inside is done at the end of the block, the last first."""
    with ExitStack() as stack:
        token = _held.set(stack)
        try:
            yield
        finally:
            _held.reset(token)
