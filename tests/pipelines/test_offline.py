"""Nothing phones home: real commands in processes whose sockets reach nobody but this machine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

PROJECT = Path(__file__).parents[2]
GUARD = Path(__file__).with_name("offline")
# What a newcomer's shell does not set, and must not have to.
UNSET = {"MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"}


class Offline:
    """A checkout with a home of its own; commands run in it under the guard."""

    def __init__(self, root: Path) -> None:
        self.root, self.home, self.log = root / "checkout", root / "home", root / "attempts"
        self.home.mkdir()
        shutil.copytree(PROJECT / "conf", self.root / "conf")
        shutil.rmtree(self.root / "conf/local")
        shutil.copytree(PROJECT / "pipelines", self.root / "pipelines")
        (self.root / "src").symlink_to(PROJECT / "src")
        for name in ("pyproject.toml", ".telemetry", "dvc.yaml", ".dvcignore", ".dvc/config"):
            (self.root / name).parent.mkdir(exist_ok=True)
            shutil.copy(PROJECT / name, self.root / name)
        (self.root / "mlruns").mkdir()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name not in UNSET}
        variables = kept | {
            "PYTHONPATH": str(GUARD),
            "OFFLINE_LOG": str(self.log),
            "HOME": str(self.home),
            "DVC_SITE_CACHE_DIR": str(self.root.parent / "site"),
            "OMP_NUM_THREADS": "1",
        }
        command = (sys.executable, *command)
        return subprocess.run(command, cwd=self.root, env=variables, capture_output=True, text=True)

    def attempts(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture
def offline(tmp_path: Path) -> Offline:
    return Offline(tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # of MLflow's own code
def test_a_run_calls_nobody_and_writes_only_in_the_checkout(offline: Offline) -> None:
    done = offline.run("-m", "kedro", "run", "--env", "test", "--pipelines", "prepare")
    assert done.returncode == 0, done.stdout + done.stderr
    assert offline.attempts() == ""
    same = (offline.root / "pyproject.toml").read_text() == (PROJECT / "pyproject.toml").read_text()
    assert same, "a project id was written"
    assert [str(p) for p in offline.home.rglob("*") if p.is_file()] == []

    # And it did what it should: records, a tracked run with flat parameters, no work left over.
    assert (offline.root / "data/03_primary/records/manifest.json").is_file()
    assert not (offline.root / "data/.work/prepare").exists()
    made = json.loads((offline.root / "data/08_reporting/runs/prepare.json").read_text())
    run = MlflowClient(f"sqlite:///{offline.root}/mlruns/mlflow.db").get_run(made["run_id"])
    assert run.info.status == "FINISHED"
    assert "prepare.quarantine_limit" in run.data.params
    assert "digest.records" in run.data.tags
    assert run.data.metrics["seconds.prepare"] > 0
    assert run.info.artifact_uri.startswith(f"file://{offline.root}/mlruns/artifacts/")


@pytest.mark.slow
def test_dvc_calls_nobody(offline: Offline) -> None:
    (offline.root / ".dvc/config").write_text(
        (offline.root / ".dvc/config").read_text() + "    no_scm = true\n"
    )
    done = offline.run("-m", "dvc", "stage", "list", "--name-only")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "prepare"
    assert offline.attempts() == ""
    assert [str(p) for p in offline.home.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    "code",
    [
        "import urllib.request; urllib.request.urlopen('http://example.org')",
        "import socket; socket.create_connection(('93.184.215.14', 80))",
        "import subprocess, sys; "
        "call = 'import http.client as c; c.HTTPSConnection(\"a.org\").connect()';"
        "sys.exit(subprocess.run([sys.executable, '-c', call]).returncode)",
    ],
    ids=["name", "address", "child"],
)
def test_the_guard_sees_and_stops_a_call(offline: Offline, code: str) -> None:
    assert offline.run("-c", code).returncode != 0
    assert "socket." in offline.attempts()


def test_the_guard_lets_this_machine_talk_to_itself(offline: Offline) -> None:
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0));"
        "socket.create_connection(s.getsockname()).close()"
    )
    assert offline.run("-c", code).returncode == 0
    assert offline.attempts() == ""
