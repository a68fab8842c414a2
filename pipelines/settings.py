"""Kedro's settings: where configuration comes from and which hooks run."""

import os
import sys

# Before anything imports these libraries: nothing phones home.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

# Before torch is imported: threads that wait sleep instead of spinning, or a busy machine crawls.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from pathlib import Path

from kedro.utils import find_kedro_project

from pipelines.context import Context
from pipelines.hooks import HOOKS
from pipelines.presets import PresetLoader
from pipelines.session import Session

# This environment's own commands come first, activated or not: `kedro mlflow ui` calls `mlflow`.
_BIN = str(Path(sys.executable).parent)
if _BIN not in os.environ.get("PATH", "").split(os.pathsep):
    os.environ["PATH"] = os.pathsep.join([_BIN, os.environ.get("PATH", os.defpath)])

PROJECT = Path(__file__).resolve().parents[1]
# Before matplotlib is imported: its list of fonts stays out of the user's home.
os.environ.setdefault("MPLCONFIGDIR", str(PROJECT / ".cache/matplotlib"))


def _project(path: str) -> str:
    """A path inside the project that the command runs in: ``${project:mlruns}``."""
    return str((find_kedro_project(Path.cwd()) or PROJECT) / path)


def _database(path: str) -> str:
    """The address of a SQLite database inside the project: ``${database:mlruns/mlflow.db}``.

    In an address ``%`` and ``?`` have a meaning; in a folder's name they have none.
    """
    return "sqlite:///" + _project(path).replace("%", "%25").replace("?", "%3F")


def _shipped(name: str) -> str:
    """Folder of a part of the miniature that the package ships: ``${miniature:encoder}``."""
    return str(PROJECT / "src/diysink/miniature/weights" / name)


HOOKS = HOOKS
SESSION_CLASS = Session
CONTEXT_CLASS = Context
CONFIG_LOADER_CLASS = PresetLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # A preset says only what differs from base, down to single values; null takes an entry out.
    "merge_strategy": {"parameters": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
    "custom_resolvers": {
        "project": _project,
        "database": _database,
        "miniature": _shipped,
    },
}
