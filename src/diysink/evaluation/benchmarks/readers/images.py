"""Images of items: bytes, base64, or files of the benchmark's folder or of a .zip in it."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from diysink.evaluation.benchmarks.readers.storage import Storage, check_member, reading
from diysink.records import BadItemError, ImageFile, ImageFolder, ImageLimits, Reason, SourceError
from diysink.records.folder import check_relative
from diysink.records.rejection import excerpt

LIMITS = ImageLimits(min_side=1)
"""A benchmark's images are what they are: only those that no memory holds are refused."""


class Images:
    """Image files by the names that items give, which are not to be trusted.

    Args:
        storage: the benchmark's folder.
        places: folders in it, or archives of these names, that are looked into one after the other;
            ``.`` is the folder itself.
    """

    def __init__(self, storage: Storage, *places: str) -> None:
        self._storage, self._places = storage, places
        # In the hub's cache, files are links into the folder of all contents beside the snapshots.
        cache = storage.folder.parent.parent / "blobs"
        allowed = [cache] if storage.folder.parent.name == "snapshots" and cache.is_dir() else []
        self._folders = [
            ImageFolder(storage.folder / place, allowed)
            for place in places
            if (storage.folder / place).is_dir()
        ]

    def read(self, name: str) -> ImageFile:
        """The image called ``name``, a relative path.

        Raises:
            BadItemError: an absolute path, a ``..``, no such file, or no image.
        """
        check_relative(name)
        for folder in self._folders:
            try:
                return ImageFile.of(folder.read(name, LIMITS.max_bytes), LIMITS)
            except BadItemError as error:
                if error.reason != Reason.MISSING_FILE:
                    raise
        data = self._packed(name)
        if data is None:
            where = ", ".join(self._places)
            raise BadItemError(
                Reason.MISSING_FILE,
                f"{excerpt(name)} is not in {self._storage.folder} ({where}), nor in a .zip there",
            )
        return ImageFile.of(data, LIMITS)

    def _packed(self, name: str) -> bytes | None:
        names = [str(PurePosixPath(place) / name) for place in self._places] + [name]
        for archive in self._storage.archives.values():
            for member in names:
                if member not in archive.NameToInfo:
                    continue
                info = archive.getinfo(member)
                try:
                    check_member(info, LIMITS.max_bytes)
                    with reading(member):
                        return archive.read(info)
                except SourceError as error:
                    raise BadItemError(Reason.UNREADABLE_FILE, str(error)) from error
        return None


def embedded(value: Any) -> ImageFile:
    """An image that stands in its row: bytes, the datasets library's {bytes, path}, or base64.

    Raises:
        BadItemError: none of these, or no image.
    """
    match value:
        case bytes():
            return ImageFile.of(value, LIMITS)
        case Mapping() if isinstance(data := value.get("bytes"), bytes):
            return ImageFile.of(data, LIMITS)
        case str() if value.strip():
            return ImageFile.of(_from_base64(value), LIMITS)
        case _:
            raise BadItemError(
                Reason.WRONG_TYPE,
                f"image is {excerpt(value)}; expected bytes, {{bytes, path}} or base64",
            )


def _from_base64(text: str) -> bytes:
    if 3 * len(text) > 4 * LIMITS.max_bytes + 1024:
        raise BadItemError(Reason.FILE_TOO_LARGE, f"{len(text)} characters of base64")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadItemError(Reason.NOT_AN_IMAGE, f"{excerpt(text, 40)} is not base64") from error
