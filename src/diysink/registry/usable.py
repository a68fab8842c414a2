"""A registered version is only trusted once it has loaded and answered.

A registry holds addresses, not models: artefacts that were deleted, or that stayed behind when a
checkout moved, leave a version that looks like any other.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

import mlflow
import pandas as pd

from diysink.artifact import MANIFEST, read_manifest
from diysink.registry.client import request
from diysink.registry.comparison import ITEM
from diysink.registry.package import read_predictions


class UnusableVersionError(RuntimeError):
    """A registered version does not load, does not answer, or lacks its predictions.

    Args:
        name: of the registered model.
        version: which of its versions.
        fault: what does not work.
        cause: what was raised.
    """

    def __init__(self, name: str, version: int, fault: str, cause: object) -> None:
        self.name, self.version = name, version
        kind = f"{type(cause).__name__}: " if isinstance(cause, BaseException) else ""
        said = " ".join(str(cause).split())[:300]
        self.fault = f"{fault} ({kind}{said})"
        super().__init__(
            f"version {version} of the registered model {name!r} cannot be used: {self.fault}. "
            "Were its files deleted, or the checkout moved? Put them back, or register the model "
            "again (`kedro run --pipelines register`); a champion that cannot be used gives way to "
            "the one before with `kedro run --pipelines promote --params rollback=true`."
        )


def check_answers(name: str, version: int) -> None:
    """Load a version as its users will, and ask it the example that it was packaged with.

    Raises:
        UnusableVersionError: it does not load, a file is not what was packaged, it holds no
            example, or it does not answer.
    """
    uri = f"models:/{name}/{version}"
    with _fault(name, version, "its model does not load"), _scratch(name, version) as folder:
        root = Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder))
        # Of damaged weights most load: the packaged folder's manifest tells them.
        for manifest in root.glob(f"artifacts/*/{MANIFEST}"):
            read_manifest(manifest.parent, thorough=True)
        model = mlflow.pyfunc.load_model(str(root))
        example = model.input_example
        if example is None:
            raise UnusableVersionError(name, version, "it cannot be tried", "no input example")
        with _fault(name, version, "it does not answer the example it was packaged with"):
            answers = model.predict(example)
            if len(answers) != len(example):
                raise ValueError(f"{len(answers)} answers to {len(example)} questions")


def check_predictions(name: str, version: int) -> pd.DataFrame:
    """The predictions that a version is judged by.

    Raises:
        UnusableVersionError: they cannot be read, or lack a column.
    """
    with _fault(name, version, "its packaged predictions cannot be read"):
        with _scratch(name, version) as folder:
            table = read_predictions(name, version, folder)
        if missing := [column for column in (*ITEM, "correct") if column not in table]:
            raise ValueError(f"no column {', '.join(missing)}")
        return table


@contextmanager
def _fault(name: str, version: int, fault: str) -> Iterator[None]:
    try:
        yield
    except (UnusableVersionError, MemoryError):
        raise
    except Exception as error:  # packaged code raises anything
        raise UnusableVersionError(name, version, fault, error) from error


@contextmanager
def _scratch(name: str, version: int) -> Iterator[str | None]:
    """Where a download goes and is removed again; None: the files are here and not copied.

    The search path is put back: a package puts its own code first on it, and processes started
    later would import that.
    """
    path = list(sys.path)
    source = request(lambda client: client.get_model_version_download_uri(name, str(version)))
    try:
        if urlparse(source).scheme in ("", "file"):
            yield None
        else:
            with tempfile.TemporaryDirectory(prefix="diysink-") as folder:
                yield folder
    finally:
        sys.path[:] = path
