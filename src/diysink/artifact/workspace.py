"""Where a stage keeps what it has finished so far, so that a killed run goes on where it was."""

import json
import shutil
from pathlib import Path
from typing import Any

from diysink.artifact.atomic import write_json
from diysink.artifact.digest import digest_code, digest_json


class Workspace:
    """The folder ``root/stage/<digest of inputs>``: work of one stage on exactly these inputs.

    The digest is over the inputs and the library's code, and makes stale work unreachable:
    another parameter, input or version is another folder.
    Whoever orchestrates removes the stage's folder once its results are published.

    Args:
        root: where all stages keep their work, on the same disk as the results.
        stage: name of the stage.
        inputs: JSON value of all that determines the result (parameters, digests of inputs).
    """

    def __init__(self, root: Path | str, stage: str, inputs: Any) -> None:
        self.key = digest_json({"inputs": inputs, "code": digest_code()})[:16]
        self.path = Path(root) / stage / self.key
        self.path.mkdir(parents=True, exist_ok=True)

    def folder(self, name: str) -> Path:
        """A folder inside the workspace, made if missing."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def finished(self, name: str) -> Any | None:
        """The value recorded when the unit of work ``name`` finished, or None if it has not."""
        path = self.path / f"{name}.done.json"
        return json.loads(path.read_text())["value"] if path.exists() else None

    def finish(self, name: str, value: Any) -> None:
        """Record that the unit ``name`` is finished, with a JSON value (not None) for later."""
        write_json(self.path / f"{name}.done.json", {"value": value})

    @staticmethod
    def clear(root: Path | str, stage: str) -> None:
        """Remove all work of ``stage``."""
        shutil.rmtree(Path(root) / stage, ignore_errors=True)
