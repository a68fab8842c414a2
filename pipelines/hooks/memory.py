"""Peak resident memory of this process since a moment, and of its worker processes."""

import resource
import sys
from pathlib import Path

_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


def reset_peak() -> None:
    """Start a new peak; where the kernel cannot (not Linux), peaks are since the start."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_bytes() -> int:
    """Highest resident set of this process since `reset_peak`, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        lines = []
    found = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return next(found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT)


def child_peak_bytes() -> int:
    """Highest resident set of any worker process so far, in bytes."""
    engine = sys.modules.get("diysink.engine.worker")  # loaded by those who use it
    ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _UNIT
    return max(ended, engine.highest_bytes if engine else 0)
