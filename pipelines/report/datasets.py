"""Inputs that a report can do without: it says that they are missing, and goes on."""

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from pipelines.datasets import AtomicFile


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
