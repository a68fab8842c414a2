"""Image files of a folder, and never a file outside it."""

from pathlib import Path, PurePosixPath, PureWindowsPath

from diysink.records.rejection import BadItemError, Reason, excerpt


class SourceError(ValueError):
    """A source cannot be read at all: no such file, broken JSON, another shape. The run stops."""


class ImageFolder:
    """Reads files by the names that records give, which are not to be trusted.

    Args:
        root: the folder; it may itself be a link.

    Raises:
        SourceError: it is not a folder.
    """

    def __init__(self, root: Path | str) -> None:
        if not Path(root).is_dir():
            raise SourceError(
                f"the image folder {root} does not exist or is not a folder; give the folder that "
                "the records' `image` paths start from"
            )
        self.root = Path(root).resolve()

    def locate(self, name: str) -> Path:
        """The file called ``name`` (a relative path), with links resolved.

        Raises:
            BadItemError: an absolute path, a `..`, a link that leads out, or no such file.
        """
        shown = excerpt(name)
        if not name.strip() or "\0" in name:
            raise BadItemError(Reason.BAD_PATH, f"{shown} is not a file name")
        if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
            raise BadItemError(
                Reason.ABSOLUTE_PATH, f"{shown} is absolute; paths start at the image folder"
            )
        if ".." in PurePosixPath(name).parts:
            raise BadItemError(Reason.PATH_OUTSIDE, f"{shown} has `..` in it")
        try:
            path = (self.root / name).resolve()
            if not path.is_relative_to(self.root):
                raise BadItemError(Reason.LINK_OUTSIDE, f"{shown} leads out of the image folder")
            # Not a folder, and not a pipe either: reading one would wait for ever.
            found = path.is_file()
        except (OSError, RuntimeError) as error:  # a name too long, links in a circle
            raise BadItemError(Reason.BAD_PATH, f"{shown}: {error}"[:200]) from error
        if not found:
            raise BadItemError(Reason.MISSING_FILE, f"{shown} is not in the image folder")
        return path

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
