"""Shared by all tests: shapes are checked at run time, one thread, nothing asks a hub."""

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
# Before torch is imported: see pipelines/settings.py; and `make test` runs a process on each core.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

# Every function of the library runs with its shape annotations checked.
install_import_hook("diysink", "beartype.beartype")


@pytest.fixture(scope="session")
def empty_tracking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them; making one takes seconds."""
    from mlflow import MlflowClient

    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow's own modules say once, when first used
        import mlflow.pyfunc

        assert mlflow.pyfunc.PythonModel  # loads the module, which importing it does not
        MlflowClient(f"sqlite:///{database}").search_experiments()
    return database


@pytest.fixture
def tracking(empty_tracking: Path, tmp_path: Path) -> Iterator[Path]:
    """MLflow with a database and artifacts of this test's own, an experiment set; their folder."""
    yield from _tracking_in(tmp_path, empty_tracking)


@pytest.fixture(scope="module")
def module_tracking(
    empty_tracking: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """As `tracking`, for all tests of a module together."""
    yield from _tracking_in(tmp_path_factory.mktemp("tracking"), empty_tracking)


def _tracking_in(folder: Path, empty: Path) -> Iterator[Path]:
    import mlflow

    root = folder / "mlruns"
    root.mkdir()
    shutil.copy(empty, root / "mlflow.db")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
    mlflow.create_experiment("test", str(root / "artifacts"))
    mlflow.set_experiment("test")
    yield root
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(before)


pytest_plugins = ["tests.tiny_models", "tests.encoders.towers", "tests.pipelines.project"]
