"""Where a stage keeps what it has finished so far, so that a killed run goes on where it was."""

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from diysink.artifact.atomic import TEMPORARY, discard, remove, write_json
from diysink.artifact.digest import digest_code, digest_json
from diysink.artifact.lock import FileLock
from diysink.artifact.names import check_name

logger = logging.getLogger(__name__)


class Workspace:
    """The folder ``root/stage/<digest of inputs>``: work of one stage on exactly these inputs.

    The digest is over the inputs, the library's code and that of whoever orchestrates (see
    `keep_workspaces`). It makes stale work unreachable: another parameter, input or version is
    another folder.
    A workspace is one process's at a time: another one that asks for it waits. It is given back
    when the object goes; inside `keep_workspaces`, at the end of that block.
    Whoever orchestrates removes it once its results are published.

    Args:
        root: where all stages keep their work, on the same disk as the results.
        stage: name of the stage.
        inputs: JSON value of all that determines the result (parameters, digests of inputs).
    """

    def __init__(self, root: Path | str, stage: str, inputs: Any) -> None:
        code = [digest_code(), _code.get()]
        self.key = digest_json({"inputs": inputs, "code": code})[:16]
        self.path = Path(root).absolute() / check_name(stage, "a stage") / self.key
        self._lock = _lock(self.path)
        for left in self.path.parent.glob(f"{TEMPORARY}*"):
            remove(left)  # of a clearing that was killed
        self.path.mkdir(parents=True, exist_ok=True)
        if (kept := _kept.get()) is not None:
            kept.append(self)

    def folder(self, name: str) -> Path:
        """A folder inside the workspace, made if missing; ``name`` may be nested (``a/b``)."""
        path = self._place(name)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def finished(self, name: str) -> Any | None:
        """The value recorded when the unit of work ``name`` finished.

        None if it has not, or if a file that belonged to it is no longer there: it is done again.
        """
        try:
            record = json.loads(self._record(name).read_text())
        except FileNotFoundError:
            return None
        for file, size in record.get("files", {}).items():
            path = self.path / file
            if not path.is_file() or path.stat().st_size != size:
                logger.warning("%s of %s is missing or cut off: doing it again", path, name)
                self._record(name).unlink()  # before anything of it changes
                return None
        return record["value"]

    def finish(self, name: str, value: Any, files: Iterable[Path] = ()) -> None:
        """Record that the unit ``name`` is finished.

        Args:
            name: of the unit, which may be nested.
            value: a JSON value (not None) for later.
            files: files and folders of the workspace that are its result.
        """
        found = [
            file
            for path in files
            for file in (path.rglob("*") if path.is_dir() else [path])
            if file.is_file()
        ]
        sizes = {file.relative_to(self.path).as_posix(): file.stat().st_size for file in found}
        write_json(self._record(name), {"value": value, "files": sizes})

    def clear(self) -> None:
        """Remove all of it; whenever that is cut short, no run finds a part of it."""
        if not self._lock.held:  # another object of the same inputs has removed it
            return
        discard(self.path)
        self._lock.release(remove=True)
        stage = self.path.parent
        if stage.is_dir() and not any(stage.iterdir()):
            try:
                stage.rmdir()
            except OSError:  # somebody has just begun to use it
                return

    def _record(self, name: str) -> Path:
        place = self._place(name)
        return place.with_name(f"{place.name}.done.json")

    def _place(self, name: str) -> Path:
        for part in name.split("/"):
            check_name(part, f"a unit of work, {name!r}")
        return self.path / name


# Of this process: several workspaces of the same inputs share one lock.
_locks: WeakValueDictionary[Path, FileLock] = WeakValueDictionary()
_code: ContextVar[str] = ContextVar("digest of the orchestrator's code", default="")
_kept: ContextVar[list[Workspace] | None] = ContextVar("kept workspaces", default=None)


def _lock(path: Path) -> FileLock:
    lock = _locks.get(path)
    if lock is None or not lock.held:
        lock = FileLock(path.with_name(f"{path.name}.lock"), what=f"the unfinished work {path}")
        lock.acquire()
        _locks[path] = lock
    return lock


@contextmanager
def keep_workspaces(code: str = "") -> Iterator[list[Workspace]]:
    """Workspaces that are opened inside stay this process's to the end; yields the list of them.

    Args:
        code: digest of the code outside this library that decides what is computed inside.
    """
    kept: list[Workspace] = []
    tokens = _kept.set(kept), _code.set(code)
    try:
        yield kept
    finally:
        _kept.reset(tokens[0])
        _code.reset(tokens[1])
        kept.clear()
