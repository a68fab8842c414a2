"""Ctrl-C, ``kill`` and a closed terminal end a run in one way, with the exit status of a shell."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(SystemExit):
    """A signal ends the process; its exit status is 128 and the signal's number (143 for TERM)."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


class Interrupts:
    """What came while a block ran: the first signal, or None."""

    def __init__(self) -> None:
        self.received: int | None = None

    def check(self) -> None:
        """Raise `Interrupted` again, if code that catches everything has swallowed it."""
        if self.received is not None:
            raise Interrupted(self.received)


_current: Interrupts | None = None


def check() -> None:
    """Raise `Interrupted` if a signal came to the block of `interruptible` that is running."""
    if _current is not None:
        _current.check()


@contextmanager
def interruptible() -> Iterator[Interrupts]:
    """Inside, the first signal raises `Interrupted`; a second one ends the process at once.

    An inner block, and one outside the main thread, leaves signals to whoever has them.
    """
    global _current
    if _current is not None or threading.current_thread() is not threading.main_thread():
        yield _current or Interrupts()
        return
    interrupts = _current = Interrupts()
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}

    def interrupt(number: int, frame: FrameType | None) -> None:
        if interrupts.received is not None:  # Lightning puts handlers back that were taken away
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        interrupts.received = number
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        raise Interrupted(number)

    try:
        for each in SIGNALS:
            # nohup lets the terminal close. A shell that starts a run in the background ignores INT
            # for it, but whoever sends one to this process means it.
            if each != signal.SIGHUP or before[each] is not signal.SIG_IGN:
                signal.signal(each, interrupt)
        yield interrupts
    finally:
        _current = None
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
