"""Read one file, or say which file is damaged and what it is instead.

What people have in place of a file is most often one of a few things: a pointer that Git LFS left,
a page of a web site saved under the file's name, a download that broke off. They are told apart by
their first bytes.
"""

import json
from pathlib import Path
from typing import Any

_LFS = b"version https://git-lfs"
_ANNEX = b"/annex/objects/"
_PAGE = (b"<!doctype html", b"<html", b"<?xml")


class BrokenFileError(ValueError):
    """A file that cannot be read.

    Attributes:
        path: the file.
        why: what is wrong with it, and what to do.
    """

    def __init__(self, path: Path | str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = Path(path)
        self.why = why

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.why)


def stand_in(path: Path) -> str | None:
    """What stands in the place of a file's content, and the remedy; None: nothing of the kind.

    Args:
        path: a file that is there, or a link.
    """
    if path.is_symlink() and not path.exists():
        return (
            f"a link to {path.readlink()}, which is not there. Copy the files that the links lead "
            "to (cp -rL), or bring the missing file back (dvc checkout, git annex get)"
        )
    with path.open("rb") as file:
        start = file.read(256)
    if not start:
        return "an empty file (0 bytes). Copy or download it again"
    if start.startswith(_LFS):
        return (
            "a Git LFS pointer, not the file itself. Run `git lfs install` and `git lfs pull` in "
            "the repository, or download the file from the hub"
        )
    if start.startswith(_ANNEX):
        return "a git-annex pointer, not the file itself. Run `git annex get` in the repository"
    if start.lstrip().lower().startswith(_PAGE):
        return (
            "a web page, not the file itself. Download the file, not the page that shows it "
            "(on the hub: .../resolve/... in place of .../blob/...)"
        )
    return None


def load_json(path: Path | str) -> Any:
    """A JSON file's value.

    Raises:
        BrokenFileError: missing, a stand-in (see `stand_in`), not UTF-8 or not JSON.
    """
    path = Path(path)
    try:
        if (instead := stand_in(path)) is not None:
            raise BrokenFileError(path, instead)
        return json.loads(path.read_bytes())
    except OSError as error:
        raise BrokenFileError(path, f"cannot be read ({error.strerror or error})") from error
    except RecursionError as error:
        raise BrokenFileError(path, "not JSON that can be read: it is nested too deep") from error
    except ValueError as error:
        if isinstance(error, BrokenFileError):
            raise
        raise BrokenFileError(
            path, f"not JSON ({error}). Copy or download it again, or correct it"
        ) from error
