"""Where a run takes place: machine, versions, state of the code."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "diysink",
    "torch",
    "transformers",
    "lightning",
    "peft",
    "kedro",
    "mlflow",
    "dvc",
    "great-expectations",
    "numpy",
    "pandas",
    "pyarrow",
    "pillow",
)


def code_state(project: Path) -> dict[str, Any]:
    """``{"revision", "dirty"}`` of the checkout; both None where git cannot tell.

    ``dvc.lock`` does not count as a change: ``dvc repro`` rewrites it between two stages.
    """
    revision = _git(project, "rev-parse", "HEAD")
    changes = _git(project, "status", "--porcelain", "--", ".", ":!dvc.lock")
    if revision is None or changes is None:
        return {"revision": None, "dirty": None}
    return {"revision": revision, "dirty": bool(changes)}


def environment() -> dict[str, Any]:
    """Machine and versions, as JSON: what a measured second or a last digit may depend on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": {
            "cpu": _cpu_name(),
            "cores": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "gpus": _gpu_names(),
        },
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _git(project: Path, *arguments: str) -> str | None:
    # Optional locks off: reading the state must not get in the way of another git command.
    variables = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=project, env=variables, capture_output=True, text=True
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _gpu_names() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
