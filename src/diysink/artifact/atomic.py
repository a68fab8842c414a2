"""Write one file so that a reader sees the old one, the new one, and never a part of either."""

import ctypes
import errno
import glob
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMPORARY = ".tmp-"  # prefix of names that no reader ever opens
_NOT_HERE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}  # the disk or the kernel cannot exchange
_LITTLE = 2**20  # bytes free on a disk that is as good as full
_HERE, _EXCHANGE = -100, 2  # of renameat2: paths are as given; the two change places


def beside(path: Path) -> Path:
    """A new temporary name in the folder of ``path``; its suffix is kept."""
    return path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{path.name}")


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it and rename it to ``path``.

    The suffix is kept, because libraries choose a format by it. On any exception the temporary
    file is removed and ``path`` is as it was.

    Raises:
        OSError: the disk is full, whatever the library that wrote says of it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(target)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(target)
        sync(target.parent)
    except Exception as error:
        if _is_full(target.parent, error):
            number = errno.ENOSPC
            raise OSError(number, os.strerror(number), str(target)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _is_full(folder: Path, error: Exception) -> bool:
    """Whether a write failed for want of space; some libraries say it in words of their own."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return error.filename is None
    return isinstance(error, OSError | RuntimeError) and shutil.disk_usage(folder).free < _LITTLE


def exchange(one: Path, other: Path) -> bool:
    """Let two files or folders change places in one step; False where the system cannot."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # Linux
    if call is None:
        return False
    if call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_HERE:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


def discard(path: Path) -> None:
    """Remove a file or folder: first its name, in one step, then what it holds."""
    if not path.exists() and not path.is_symlink():
        return
    gone = beside(path)
    path.rename(gone)
    remove(gone)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all in it; nothing happens if it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Remove what killed writers of ``path`` left beside it.

    Only who keeps others from writing ``path`` may do this: a living writer's file goes as well.
    """
    name = glob.escape(path.name)
    for left in path.parent.glob(f"{TEMPORARY}????????-{name}"):
        remove(left)


def sync(path: Path) -> None:
    """Flush a file's bytes, or a folder's list of names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write ``data`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` atomically as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: Any) -> None:
    """Write ``value`` atomically as strict JSON (NaN is an error); equal values, equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")
