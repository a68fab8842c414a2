"""Where a split of records lies: a folder of this machine, or any URL that fsspec reads."""

import json
from io import IOBase
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from pyarrow.fs import FSSpecHandler, PyFileSystem

from diysink.artifact import MANIFEST, BrokenFolderError, check_manifest, read_manifest


def place(folder: Path | str) -> "Folder | Url":
    """The place that a path or URL names; ``file://`` is a folder.

    Raises:
        ImportError: the package that reads such URLs (``s3fs`` for ``s3://``) is not installed.
    """
    if "://" not in str(folder):
        return Folder(Path(folder))
    files, root = fsspec.url_to_fs(str(folder))
    return Folder(Path(root)) if isinstance(files, LocalFileSystem) else Url(str(folder))


class Folder:
    """On a disk of this machine."""

    verifies_once = True
    """Whether a row group's checksums need to be looked at but once in a process."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def manifest(self) -> dict[str, Any]:
        """As `diysink.artifact.read_manifest`."""
        return read_manifest(self.root)

    def named(self, file: str) -> str:
        """A file's full name."""
        return str(self.root / file)

    def open(self, file: str) -> IOBase:
        """Open a file for reading at any place."""
        return (self.root / file).open("rb")

    def parquet(self, file: str, *, verified: bool = False) -> pq.ParquetFile:
        """Open a shard; what was ``verified`` before is read without its pages' checksums."""
        path = self.root / file
        return pq.ParquetFile(path, memory_map=True, page_checksum_verification=not verified)


class Url:
    """In an object store, or wherever fsspec reaches (https://filesystem-spec.readthedocs.io).

    A row group is read by one request or two, and nothing is kept on disk.
    """

    verifies_once = False  # its pages come over a network

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def manifest(self) -> dict[str, Any]:
        """As `diysink.artifact.read_manifest`."""
        files, root = self._files()
        try:
            text = files.cat_file(f"{root}/{MANIFEST}")
        except FileNotFoundError as error:
            raise BrokenFolderError(
                f"{self.root} has no {MANIFEST}: it is no split of records, or its copy was not "
                "finished. Copy the manifest last."
            ) from error
        found = files.find(root, detail=True)
        sizes = {name.removeprefix(root).lstrip("/"): int(f["size"]) for name, f in found.items()}
        return check_manifest(self.root, lambda: json.loads(text), sizes.get)

    def named(self, file: str) -> str:
        """A file's full name."""
        return f"{self.root}/{file}"

    def open(self, file: str) -> Any:
        """Open a file for reading at any place."""
        files, root = self._files()
        return files.open(f"{root}/{file}", "rb")

    def parquet(self, file: str, *, verified: bool = False) -> pq.ParquetFile:
        """Open a shard."""
        files, root = self._files()
        return pq.ParquetFile(
            f"{root}/{file}",
            filesystem=PyFileSystem(FSSpecHandler(files)),
            pre_buffer=True,
            page_checksum_verification=not verified,
        )

    def _files(self) -> Any:
        # Looked up anew: fsspec keeps one for each process, and none goes through a fork.
        files, root = fsspec.url_to_fs(self.root)
        return files, root.rstrip("/")
