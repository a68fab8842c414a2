"""Image files of a folder, and never a file outside it, but for folders that the user names.

DVC keeps the files in a cache and puts symbolic links in the folder; a shared server often has
the images on another disk. The folders that links may lead to are named one by one.

LLaVA's mixture names every image of OCR-VQA ``.jpg``, and as downloaded some are ``.gif`` or
``.png``: so another extension can be allowed, where only one file has it.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath

from diysink.records.rejection import BadItemError, Reason, excerpt

EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")


class SourceError(ValueError):
    """A source cannot be read at all: no such file, broken JSON, another shape. The run stops."""


class ImageFolder:
    """Reads files by the names that records give, which are not to be trusted.

    Args:
        root: the folder; it may itself be a link.
        allowed: folders outside ``root`` into which links may lead. A name still never leads out
            of ``root`` by itself: absolute names and `..` are refused, whatever is allowed.
        any_extension: where a file is missing, take the one that has the same name with another
            extension of `EXTENSIONS`, if there is exactly one.

    Raises:
        SourceError: one of them is not a folder, or ``allowed`` has the root of all files.
    """

    def __init__(
        self,
        root: Path | str,
        allowed: Iterable[Path | str] = (),
        *,
        any_extension: bool = False,
    ) -> None:
        if not Path(root).is_dir():
            raise SourceError(
                f"the image folder {root} does not exist or is not a folder; give the folder that "
                "the records' `image` paths start from"
            )
        self.root = Path(root).resolve()
        self.allowed = tuple(_allowed(each) for each in allowed)
        self.any_extension = any_extension

    def locate(self, name: str) -> Path:
        """The file called ``name`` (a relative path), with links resolved.

        Raises:
            BadItemError: an absolute path, a `..`, a link that leads out, or no such file.
        """
        path = self._find(name)
        if path is not None:
            return path
        others = list(self.with_stem(name.removesuffix(PurePosixPath(name).suffix)))
        if self.any_extension and len(others) == 1:
            return self.locate(others[0])
        raise BadItemError(
            Reason.MISSING_FILE, f"{excerpt(name)} is not in the image folder{_hint(others)}"
        )

    def with_stem(self, stem: str) -> Iterator[str]:
        """The names of the files called ``stem``, with or without an extension of images."""
        for name in (stem, *(stem + each for each in EXTENSIONS)):
            with suppress(BadItemError):  # such as a link that leads out
                if self._find(name) is not None:
                    yield name

    def _find(self, name: str) -> Path | None:
        """The file called ``name``, None where there is none; raises as `locate` does."""
        shown = excerpt(name)
        check_relative(name)
        try:
            path = (self.root / name).resolve()
            if not any(path.is_relative_to(root) for root in (self.root, *self.allowed)):
                raise BadItemError(
                    Reason.LINK_OUTSIDE,
                    f"{shown} is a link out of the image folder; if that is meant, add the folder "
                    "it leads to to the split's allowed_roots",
                )
            # Not a folder, and not a pipe either: reading one would wait for ever.
            found = path.is_file()
        except (OSError, RuntimeError) as error:  # a name too long, links in a circle
            raise BadItemError(Reason.BAD_PATH, f"{shown}: {error}"[:200]) from error
        return path if found else None

    def read(self, name: str, max_bytes: int) -> bytes:
        """The bytes of the file called ``name``.

        Raises:
            BadItemError: see `locate`; also a file above ``max_bytes`` or one without permission.
        """
        path = self.locate(name)
        try:
            size = path.stat().st_size
            if size > max_bytes:
                raise BadItemError(
                    Reason.FILE_TOO_LARGE, f"{excerpt(name)}: {size} bytes, at most {max_bytes}"
                )
            return path.read_bytes()
        except OSError as error:
            raise BadItemError(
                Reason.UNREADABLE_FILE, f"{excerpt(name)}: {error.strerror}"
            ) from error

    def state(self, name: str) -> tuple[int, int] | None:
        """Size and time of last change (ns) of a file, None where there is none to be had."""
        try:
            facts = self.locate(name).stat()
        except (BadItemError, OSError):
            return None
        return facts.st_size, facts.st_mtime_ns


def _hint(others: list[str]) -> str:
    """What to do where there are files with other extensions."""
    match others:
        case []:
            return ""
        case [only]:
            return f"; {excerpt(only)} is: if that is the image, set the split's any_extension"
        case _:
            return f", and {len(others)} files with other extensions are: it is not clear which"


def check_relative(name: str) -> None:
    """Raise `BadItemError` for a name that is absolute, has a `..`, or is no file name."""
    shown = excerpt(name)
    if not name.strip() or "\0" in name:
        raise BadItemError(Reason.BAD_PATH, f"{shown} is not a file name")
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        raise BadItemError(
            Reason.ABSOLUTE_PATH, f"{shown} is absolute; paths start at the image folder"
        )
    if ".." in PurePosixPath(name).parts:
        raise BadItemError(Reason.PATH_OUTSIDE, f"{shown} has `..` in it")


def _allowed(root: Path | str) -> Path:
    path = Path(root)
    if not path.is_dir():
        raise SourceError(
            f"the allowed root {root} does not exist or is not a folder; give a folder that links "
            "in the image folder lead into, such as DVC's cache"
        )
    path = path.resolve()
    if path == Path(path.anchor):
        raise SourceError(
            f"the allowed root {root} is the root of all files, which allows a link to any of "
            "them; give the folder with the images"
        )
    return path
