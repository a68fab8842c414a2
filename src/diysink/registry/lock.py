"""One process at a time decides about a registered model.

MLflow has no compare-and-swap: who reads the record, decides and writes must be alone meanwhile.
Among the processes of one machine a lock file sees to that, beside a sqlite database, and for a
server in the temporary folder, one a user. Between machines (or users) nothing does; there
`diysink.registry.decisions` sees to it that no decision overwrites another.
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diysink.artifact import FileLock, digest_bytes
from diysink.registry.client import address, database, reaching

_held = threading.local()  # paths that this thread holds


@contextmanager
def deciding(name: str) -> Iterator[None]:
    """Alone with the registered model ``name``; inside itself it does nothing.

    Raises:
        ValueError: MLflow takes no such name.
        RegistryUnreachableError: the registry is away.
    """
    check_model_name(name)
    path = lock_path(name)
    held: set[Path] = _held.__dict__.setdefault("paths", set())
    if path in held:
        yield
        return
    with reaching(), FileLock(path, what=f"the registered model {name!r}"):
        held.add(path)
        try:
            yield
        finally:
            held.discard(path)


def lock_path(name: str) -> Path:
    """The lock's file: the same for every process of this user that means the same model."""
    file = database()
    if file is not None:
        return file.with_name(f"{file.name}.{digest_bytes(name.encode())[:16]}.lock")
    key = digest_bytes(f"{address()}\n{name}".encode())[:32]
    return _own_folder() / f"registry-{key}.lock"


def check_model_name(name: object) -> str:
    """``name``, if a registered model may be called so.

    Raises:
        ValueError: it is no text, or holds anything but letters, digits, spaces, ``-``, ``_``
            and ``.``, or begins with none of the first two, or ends in a space.
    """
    if (
        isinstance(name, str)
        and name[:1].isalnum()
        and name == name.strip()
        and len(name) <= 200
        and all(letter.isalnum() or letter in " -_." for letter in name)
    ):
        return name
    quotes = "" if isinstance(name, str) else f" ({type(name).__name__}; in YAML, quote it)"
    raise ValueError(
        f"{name!r}{quotes} cannot be the name of a registered model (register.name): use at most "
        "200 letters, digits, spaces, '-', '_' and '.', with a letter or digit first"
    )


def _own_folder() -> Path:
    """A folder in the temporary one that only this user can write to."""
    folder = Path(tempfile.gettempdir()) / f"diysink-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(
            f"{folder} belongs to somebody else; expected a folder of one's own for locks. Remove "
            "it, or set TMPDIR to another temporary folder."
        )
    return folder
