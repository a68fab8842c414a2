"""The files of a benchmark's folder, plain or within a .zip.

Nothing is extracted to a path that an archive gives: images are read in place, files of rows from a
temporary copy. A member may become 200 times its packed size, or 1 GiB if that is more: a zip bomb
is refused before it is read, and no more is ever read than the size that the archive declares.
"""

import fnmatch
import shutil
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BufferedIOBase
from pathlib import Path, PurePosixPath

from diysink.records import BadItemError, SourceError
from diysink.records.folder import check_relative

DEEPEST = 2  # folders between the benchmark's folder and a file that is looked for
LARGEST, RATIO = 2**30, 200


@dataclass(frozen=True)
class StoredFile:
    """A file of a folder, or a member of an archive.

    Attributes:
        path: of the file, or of the archive.
        member: its name in the archive; None: a plain file.
    """

    path: Path
    member: str | None = None

    @property
    def name(self) -> str:
        """As errors call it: ``folder/file`` or ``folder/archive.zip/member``."""
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"

    @property
    def folder(self) -> str:
        """The name of the folder that it lies in."""
        return PurePosixPath(self.member or self.path.as_posix()).parent.name

    def open(self) -> BufferedIOBase:
        """The file, to read and to seek in; raises as `local` does."""
        return self.local.open("rb")

    @cached_property
    def local(self) -> Path:
        """A plain file: itself, or a member's copy in a temporary file that goes with this one.

        Rows are read at random, which a packed member does not allow.

        Raises:
            SourceError: the archive is broken, encrypted or would become too large.
        """
        if self.member is None:
            return self.path
        with reading(self.name), zipfile.ZipFile(self.path) as archive:
            info = archive.getinfo(self.member)
            check_member(info, max(LARGEST, RATIO * info.compress_size))
            copy = tempfile.NamedTemporaryFile(prefix="benchmark-")  # noqa: SIM115
            weakref.finalize(self, copy.close)
            with archive.open(info) as source:
                shutil.copyfileobj(source, copy, 2**20)
            copy.flush()
        return Path(copy.name)


class Storage:
    """Finds files by the names under which a benchmark was published.

    Args:
        folder: the benchmark's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, *patterns: str) -> list[StoredFile]:
        """The files that fit the first pattern which any fits, by name.

        Args:
            patterns: such as ``val.json`` or ``testmini-*.parquet``; with a folder if it decides.
        """
        for pattern in patterns:
            plain = {
                path
                for depth in range(DEEPEST + 1)
                for path in self.folder.glob("*/" * depth + pattern)
                if path.is_file()
            }
            if plain:
                return [StoredFile(path) for path in sorted(plain)]
            if packed := sorted(self._members(pattern), key=lambda each: each.name):
                return packed
        return []

    @cached_property
    def archives(self) -> dict[Path, zipfile.ZipFile]:
        """The .zip files at the top of the folder, and one folder below, opened once."""
        paths = [*self.folder.glob("*.zip"), *self.folder.glob("*/*.zip")]
        opened = {}
        for path in sorted(paths):
            with reading(str(path)):
                opened[path] = zipfile.ZipFile(path)
        return opened

    def read(self, file: StoredFile, largest: int) -> bytes:
        """All of a small file, which in an archive is read in place.

        Raises:
            SourceError: it has more than ``largest`` bytes, or cannot be read.
        """
        with reading(file.name):
            if file.member is not None:
                archive = self.archives[file.path]
                check_member(archive.getinfo(file.member), largest)
                return archive.read(file.member)
            with file.path.open("rb") as opened:
                data = opened.read(largest + 1)
        if len(data) > largest:
            raise SourceError(f"{file.name} has more than {largest} bytes")
        return data

    def _members(self, pattern: str) -> Iterator[StoredFile]:
        for path, archive in self.archives.items():
            for name in archive.namelist():
                if _fits(name, pattern):
                    yield StoredFile(path, name)


def check_member(info: zipfile.ZipInfo, largest: int) -> None:
    """Raises SourceError for a member that is encrypted or becomes larger than ``largest``."""
    if info.flag_bits & 1:
        raise SourceError(f"{info.filename} is encrypted; give the files without a password")
    if info.file_size > largest:
        raise SourceError(
            f"{info.filename} becomes {info.file_size} bytes of {info.compress_size}, at most "
            f"{largest} are read from an archive; unpack it, if it is what you expect"
        )


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Whatever a damaged archive or file raises becomes an error that names it.

    Raises:
        SourceError: reading inside the block failed.
    """
    try:
        yield
    except (SourceError, BadItemError):
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,  # a method of compression that Python has not
        RuntimeError,
    ) as error:
        raise SourceError(
            f"{name} cannot be read ({type(error).__name__}: {str(error)[:200]}); "
            "it is damaged, or was not copied whole"
        ) from error


def _fits(name: str, pattern: str) -> bool:
    try:
        check_relative(name)
    except BadItemError:
        return False
    parts, wanted = PurePosixPath(name).parts, PurePosixPath(pattern).parts
    return len(parts) >= len(wanted) and all(
        fnmatch.fnmatchcase(part, want)
        for part, want in zip(parts[-len(wanted) :], wanted, strict=True)
    )
