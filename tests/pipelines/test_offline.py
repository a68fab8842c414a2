"""Nothing phones home: real commands in processes whose sockets reach nobody but this machine."""

import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.pipelines.offline.command import Offline
from tests.pipelines.project import ROOT, make_project


@pytest.fixture
def offline(tmp_path: Path) -> Offline:
    return Offline(make_project(tmp_path / "project"))


@pytest.mark.slow
def test_a_whole_run_calls_nobody_and_writes_only_in_its_project(whole: Path) -> None:
    ran = Offline(whole)
    assert ran.attempts == ""
    assert ran.in_home == []
    same = (whole / "pyproject.toml").read_text() == (ROOT / "pyproject.toml").read_text()
    assert same, "a project id was written"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # of MLflow's own code
def test_a_whole_run_is_tracked_in_its_project(whole: Path) -> None:
    made = json.loads((whole / "data/08_reporting/runs/evaluate.json").read_text())
    run = MlflowClient(f"sqlite:///{whole}/mlruns/mlflow.db").get_run(made["run_id"])
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith(f"file://{whole}/mlruns/artifacts/")
    assert run.data.params["align.trainer.devices"] == "1"
    assert {"digest.records", "digest.sink_profiles"} <= run.data.tags.keys()
    assert run.data.metrics["seconds.evaluate"] > 0
    metrics = json.loads((whole / "data/08_reporting/metrics.json").read_text())
    assert run.data.metrics["dual.all"] == metrics["dual"]["all"]


@pytest.mark.slow
def test_dvc_calls_nobody(offline: Offline) -> None:
    for name in ("dvc.yaml", ".dvcignore", ".dvc/config"):
        (offline.project / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, offline.project / name)
    with (offline.project / ".dvc/config").open("a") as config:
        config.write("    no_scm = true\n")
    done = offline.python("-m", "dvc", "stage", "list", "--name-only")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "prepare"
    assert offline.attempts == ""
    assert offline.in_home == []


CHILD = """
import subprocess, sys
call = 'import http.client; http.client.HTTPSConnection("example.org").connect()'
sys.exit(subprocess.run([sys.executable, "-c", call]).returncode)
"""


@pytest.mark.parametrize(
    "code",
    [
        "import urllib.request; urllib.request.urlopen('http://example.org')",
        "import socket; socket.create_connection(('93.184.215.14', 80))",
        CHILD,
    ],
    ids=["name", "address", "child"],
)
def test_the_guard_sees_and_stops_a_call(offline: Offline, code: str) -> None:
    assert offline.python("-c", code).returncode != 0
    assert "socket." in offline.attempts


def test_the_guard_lets_this_machine_talk_to_itself(offline: Offline) -> None:
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0));"
        "socket.create_connection(s.getsockname()).close()"
    )
    assert offline.python("-c", code).returncode == 0
    assert offline.attempts == ""


def test_what_is_left_in_the_home_is_seen(offline: Offline) -> None:
    code = "import pathlib; pathlib.Path('~/.rc').expanduser().write_text('')"
    assert offline.python("-c", code).returncode == 0
    assert offline.in_home == [".rc"]
