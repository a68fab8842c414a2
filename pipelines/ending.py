"""What a run holds, given back in one place however it ends."""

import atexit
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

_held: ContextVar[ExitStack | None] = ContextVar("what the run holds", default=None)


def at_end(give_back: Callable[[], object]) -> None:
    """Call ``give_back`` when the run ends; outside `holding`, when the process does."""
    held = _held.get()
    if held is None:
        atexit.register(give_back)
    else:
        held.callback(give_back)


@contextmanager
def holding() -> Iterator[None]:
    """What is promised to `at_end` inside is done at the end of the block, the last first."""
    with ExitStack() as stack:
        token = _held.set(stack)
        try:
            yield
        finally:
            _held.reset(token)
