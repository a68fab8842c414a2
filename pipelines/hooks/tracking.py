"""What goes into the MLflow run that kedro-mlflow opened: metrics, artifacts, origins.

A catalog entry says it with ``metadata``: ``{mlflow: metrics}`` logs a JSON file's numbers under
their path (``accuracy.dual.global``), ``{mlflow: artifact}`` the file or folder itself.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol

from pipelines.hooks.environment import code_state

_BATCH = 1000  # metrics that MLflow takes at once


class Tracking:
    """Logs to the active MLflow run; does nothing where tracking is off."""

    def __init__(self) -> None:
        self._catalog: CatalogProtocol | None = None

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: CatalogProtocol) -> None:
        """Tag the run with the state of the code and the DVC stage and experiment."""
        self._catalog = catalog
        code = code_state(Path(run_params["project_path"]))
        tags = {
            "git.revision": code["revision"],
            "git.dirty": code["dirty"],
            "dvc.stage": os.environ.get("DVC_STAGE"),
            "dvc.experiment": os.environ.get("DVC_EXP_NAME"),
        }
        _tag({name: str(value) for name, value in tags.items() if value is not None})

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Tag the run with the digest of every folder that it read."""
        _tag_digest(dataset_name, data)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log what the catalog says is to be logged, and the digest of every folder made."""
        _tag_digest(dataset_name, data)
        dataset = self._catalog.get(dataset_name) if self._catalog else None
        match (getattr(dataset, "metadata", None) or {}).get("mlflow"):
            case None:
                return
            case "metrics":
                _log_metrics(data)
            case "artifact":
                _log_artifact(Path(dataset._describe()["filepath"]))  # type: ignore[union-attr]
            case other:
                raise ValueError(
                    f"Catalog entry {dataset_name!r} has metadata mlflow: {other!r}; expected "
                    "'metrics' (a JSON file of numbers) or 'artifact' (a file or folder)."
                )


def metrics_of(value: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The finite numbers of nested mappings, each named by its path.

    >>> list(metrics_of({"accuracy": {"dual": 0.5, "note": "x"}, "n": 3}))
    [('accuracy.dual', 0.5), ('n', 3.0)]
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from metrics_of(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        # MLflow takes these characters in a metric's name and no others.
        yield re.sub(r"[^\w.\-/: ]", "_", prefix), float(value)


def _log_metrics(data: Any) -> None:
    import mlflow

    if mlflow.active_run() is None:
        return
    found = list(metrics_of(data))
    for start in range(0, len(found), _BATCH):
        mlflow.log_metrics(dict(found[start : start + _BATCH]))


def _log_artifact(path: Path) -> None:
    import mlflow

    if mlflow.active_run() is None:
        return
    if path.is_dir():
        mlflow.log_artifacts(str(path), artifact_path=path.name)
    else:
        mlflow.log_artifact(str(path))


def _tag_digest(name: str, data: Any) -> None:
    """A folder's manifest lists the digest of each of its files: its own digest stands for all."""
    if not isinstance(data, Path) or not (data / "manifest.json").is_file():
        return
    from diysink.artifact import digest_file

    _tag({f"digest.{name}": digest_file(data / "manifest.json")})


def _tag(tags: dict[str, str]) -> None:
    import mlflow

    if tags and mlflow.active_run() is not None:
        mlflow.set_tags(tags)
