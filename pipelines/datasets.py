"""Kedro datasets that are either whole or absent: one file, or one folder with a manifest."""

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from diysink.artifact import (
    MANIFEST,
    BrokenFolderError,
    atomic_path,
    digest_file,
    publish,
    read_manifest,
)

_CHECKED: dict[str, dict[str, Any]] = {
    "pandas.ParquetDataset": {
        "save_args": {"write_page_checksum": True},
        "load_args": {"page_checksum_verification": True},
    }
}


class AtomicFile(AbstractDataset[Any, Any]):
    """Any file dataset of kedro-datasets, written under a temporary name and renamed.

    Parquet is written with checksums of its pages, and read with them: a flipped bit is an error.

    Args:
        filepath: the file.
        dataset: configuration of the wrapped dataset, without its ``filepath``.
    """

    def __init__(
        self, *, filepath: str, dataset: dict[str, Any], metadata: dict[str, Any] | None = None
    ) -> None:
        self._path = Path(filepath)
        self._config = _CHECKED.get(dataset["type"], {}) | dataset
        self.metadata = metadata

    def _inner(self, path: Path) -> AbstractDataset[Any, Any]:
        return AbstractDataset.from_config(self._path.stem, {**self._config, "filepath": str(path)})

    def _load(self) -> Any:
        return self._inner(self._path).load()

    def _save(self, data: Any) -> None:
        with atomic_path(self._path) as temporary:
            self._inner(temporary).save(data)

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path), "dataset": self._config.get("type")}


class Folder(AbstractDataset[Path, Path | str]):
    """A folder with a manifest. Nodes give and get its path; the bytes stay on disk.

    Saving publishes a finished folder (one that a node filled in its workspace and closed with
    ``write_manifest``) at ``filepath``. Loading holds every file against the manifest: its size
    each time, its SHA-256 once a run, before anything is computed from it.

    Args:
        filepath: the folder; or a URL (``s3://...``), which is read in place by whoever can, and
            neither saved nor checked here.
        optional: whether a run may load it that does not need it; a folder that does not exist is
            then an error only where it is read.
    """

    def __init__(
        self, *, filepath: str, optional: bool = False, metadata: dict[str, Any] | None = None
    ) -> None:
        self.url = filepath if "://" in filepath else None
        self._path, self._optional = Path(filepath), optional
        self._checked: str | None = None  # digest of the manifest whose files were read in full
        self.metadata = metadata

    def _load(self) -> Path | str:
        if self.url is not None:
            return self.url
        if self._optional and not self._path.exists():
            return self._path
        try:
            seen = _manifest_digest(self._path)
            read_manifest(self._path, thorough=seen is None or seen != self._checked)
        except BrokenFolderError as error:
            raise DatasetError(str(error)) from error
        self._checked = seen
        return self._path

    def _save(self, data: Path) -> None:
        if self.url is not None:
            raise DatasetError(
                f"{self.url} is read in place and never written. Write to a folder, and copy it "
                "there (docs/guides/scale.md)."
            )
        publish(data, self._path)

    def _exists(self) -> bool:
        return self.url is not None or (self._path / "manifest.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self.url or str(self._path)}


def _manifest_digest(folder: Path) -> str | None:
    manifest = folder / MANIFEST
    return digest_file(manifest) if manifest.is_file() else None


class OptionalFile(AtomicFile):
    """A file like any other, but None where it does not exist."""

    def _load(self) -> Any:
        return super()._load() if self._exists() else None


class JSONFiles(AbstractDataset[Any, dict[str, Any]]):
    """The JSON files of a folder by stem, read only; empty where there is none.

    Args:
        filepath: the folder.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    def _load(self) -> dict[str, Any]:
        return {
            path.stem: json.loads(path.read_text()) for path in sorted(self._path.glob("*.json"))
        }

    def _save(self, data: Any) -> None:
        raise DatasetError(
            f"{self._path} is written by the hooks, stage by stage, and only read here."
        )

    def _exists(self) -> bool:
        return self._path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}
