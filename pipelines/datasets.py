"""Kedro datasets that are either whole or absent: one file, or one folder with a manifest."""

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from diysink.artifact import BrokenFolderError, atomic_path, publish, read_manifest


class AtomicFile(AbstractDataset[Any, Any]):
    """Any file dataset of kedro-datasets, written under a temporary name and renamed.

    Args:
        filepath: the file.
        dataset: configuration of the wrapped dataset, without its ``filepath``.
    """

    def __init__(
        self, *, filepath: str, dataset: dict[str, Any], metadata: dict[str, Any] | None = None
    ) -> None:
        self._path = Path(filepath)
        self._config = dataset
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


class Folder(AbstractDataset[Path, Path]):
    """A folder with a manifest. Nodes give and get its path; the bytes stay on disk.

    Saving publishes a finished folder (one that a node filled in its workspace and closed with
    ``write_manifest``) at ``filepath``; loading checks the manifest first.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    def _load(self) -> Path:
        try:
            read_manifest(self._path)
        except BrokenFolderError as error:
            raise DatasetError(str(error)) from error
        return self._path

    def _save(self, data: Path) -> None:
        publish(data, self._path)

    def _exists(self) -> bool:
        return (self._path / "manifest.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}


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
