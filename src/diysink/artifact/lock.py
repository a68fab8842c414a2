"""A lock between processes: a file that one of them holds, and that the system frees when it dies.

Advisory, by ``flock``: it binds those who ask. Nothing has to be tidied up after a kill -9, because
the lock is the open file and not its existence. A disk that knows no locks (some network ones) is
said so once, and nothing is held there.
"""

import errno
import fcntl
import json
import logging
import os
import socket
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType

logger = logging.getLogger(__name__)
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class FileLock:
    """One process's hold on ``path``: alone, or shared with others that share.

    Args:
        path: the lock's file, made if missing; its content says who holds it.
        shared: several may hold it so at once, and nobody alone meanwhile.
        what: what it guards, for the line that is logged while it waits.
    """

    def __init__(self, path: Path | str, *, shared: bool = False, what: str = "") -> None:
        self._file: int | None = None
        self.path = Path(path)
        self.shared = shared
        self.what = what or self.path.name

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._file is not None

    def acquire(self, *, wait: bool = True) -> bool:
        """Take the lock; with ``wait``, however long that lasts. Whether it was taken."""
        while self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                file = _opened(self.path)
            except FileNotFoundError:  # somebody tidied the folder away in between
                continue
            try:
                if not self._lock(file, wait=wait):
                    return False
                # Who held it before may have removed the file: then this one guards nothing.
                if _same(file, self.path):
                    self._file, file = file, -1
            finally:
                if file >= 0:
                    os.close(file)
        if not self.shared:
            _sign(self._file)
        return True

    def release(self, *, remove: bool = False) -> None:
        """Give it back. ``remove`` takes the file away first: only who holds it alone may."""
        if self._file is None:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        file, self._file = self._file, None
        os.close(file)

    def __del__(self) -> None:
        self.release()

    def __enter__(self) -> "FileLock":
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _lock(self, file: int, *, wait: bool) -> bool:
        how = fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                return False
            logger.warning("Waiting for %s, in use by %s", self.what, holder(self.path))
            fcntl.flock(file, how)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            logger.warning(
                "%s lies on a disk without locks (%s): do not start two runs there at once",
                self.path,
                error.strerror,
            )
        return True


def holder(path: Path) -> str:
    """Who says in a lock's file that they hold it: ``process 17 on host (kedro run) since ...``."""
    try:
        said = json.loads(path.read_text())
        return (
            f"process {said['process']} on {said['host']} ({said['command']}) since {said['since']}"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _opened(path: Path) -> int:
    """The lock's file, for whoever may use the folder: another user's is only read."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY)


def _same(file: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(file)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _sign(file: int) -> None:
    said = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200],
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    with suppress(OSError):  # another user's file, or a full disk: it is held all the same
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(said).encode(), 0)
