"""Run a command as a newcomer would, with a home of its own and sockets that reach nobody."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

GUARD = Path(__file__).parent
ROOT = GUARD.parents[2]
# What the tests' own process sets and a newcomer's shell does not.
UNSET = {"MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"}


@dataclass(frozen=True)
class Offline:
    """Commands in ``project``; beside it lie their home and the list of attempts to call out."""

    project: Path

    @property
    def home(self) -> Path:
        return self.project.with_name(f"{self.project.name}-home")

    @property
    def attempts(self) -> str:
        """Calls that were refused, one a line."""
        log = self._log
        return log.read_text() if log.exists() else ""

    @property
    def in_home(self) -> list[str]:
        """Files that the commands left in the user's home."""
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*.*"))

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with ``arguments``; child processes are guarded as well."""
        self.home.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if name not in UNSET}
        variables = kept | {
            "PYTHONPATH": f"{GUARD}:{ROOT}:{ROOT / 'src'}",
            "OFFLINE_LOG": str(self._log),
            "HOME": str(self.home),
            "DVC_SITE_CACHE_DIR": str(self.project.with_name("site")),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.project,
            env=variables,
            capture_output=True,
            text=True,
        )

    @property
    def _log(self) -> Path:
        return self.project.with_name(f"{self.project.name}-attempts")
