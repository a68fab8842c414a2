"""What happens in a worker process: it logs, it measures itself, and it ends with its parent."""

import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

highest_bytes = 0
"""Highest resident set of any worker that has given this process a result."""

_LOOK = 0.5  # seconds between two looks whether the parent lives
UNIT = 1 if sys.platform == "darwin" else 1024
"""Of ru_maxrss, in bytes."""


def begin(parent: int) -> None:
    """Leave signals to the parent, and end when it does, however it ends."""
    # Signals of a terminal reach every process; what becomes of the work is the parent's to say.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def called(call: Callable[[Task], Result], level: int, task: Task) -> tuple[Result, int]:
    """The result, and this process's peak of memory in bytes; logs go to standard error."""
    root = logging.getLogger()
    if not root.handlers:
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    root.setLevel(level)
    return call(task), peak_bytes()


def noted(answer: tuple[Result, int]) -> Result:
    """In the parent: the result that a worker gave with its peak, which is noted."""
    global highest_bytes
    result, peak = answer
    highest_bytes = max(highest_bytes, peak)
    return result


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


def peak_bytes() -> int:
    """Highest resident set of this process alone, in bytes."""
    try:  # ru_maxrss also counts what it was forked from
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        lines = []
    found = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return next(found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT)
