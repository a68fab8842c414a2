"""The tracking store: whole or absent, in this checkout wherever it goes, or one's own server."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient

from pipelines.hooks import store
from pipelines.store import (
    TrackingDatabaseError,
    check,
    local_database,
    prepare,
    relocate,
)
from tests.pipelines.project import ROOT, kedro_run, make_project, run_in_child

# MLflow's and Kedro's plugins, loaded in this process, warn of their own.
pytestmark = pytest.mark.filterwarnings("ignore")


def places(project: Path) -> set[str]:
    """All that the database says of where artefacts lie."""
    found: set[str] = set()
    with closing(sqlite3.connect(project / "mlruns/mlflow.db")) as database:
        for table, column in (
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
            ("model_versions", "storage_location"),
        ):
            found |= {row[0] for row in database.execute(f"select {column} from {table}")}
        found |= {
            row[0]
            for row in database.execute(
                "select artifact_location from experiments where name = 'diysink'"
            )
        }
    return found


@pytest.mark.slow
def test_a_moved_checkout_keeps_and_finds_its_artefacts(whole, tmp_path):
    first = tmp_path / "old place"
    shutil.copytree(whole, first)
    assert run_in_child(first, "report")[0] == 0
    now = tmp_path / "new place?"
    first.rename(now)
    code, _ = run_in_child(now, "register,report,promote")
    assert code == 0
    assert not first.exists(), "a run wrote to where the checkout was before"
    assert all(place.startswith((now / "mlruns").as_uri()) for place in places(now))
    decision = json.loads((now / "data/08_reporting/decision.json").read_text())
    assert decision["action"] in ("first", "promote", "keep")
    assert len(list((now / "mlruns/artifacts").glob("*/artifacts/report.html"))) == 3


def test_relocating_touches_only_what_lay_beside_the_database(tmp_path):
    old = tmp_path / "old" / "mlruns"
    prepare(f"sqlite:///{old}/mlflow.db", "diysink")
    client = MlflowClient(f"sqlite:///{old}/mlflow.db")
    experiment = client.get_experiment_by_name("diysink")
    mine = client.create_run(experiment.experiment_id)
    elsewhere = client.create_experiment("other", (tmp_path / "elsewhere").as_uri())
    theirs = client.create_run(elsewhere)
    near = client.create_experiment("near", (tmp_path / "old" / "mlruns-2").as_uri())
    new = tmp_path / "new" / "mlruns"
    old.parent.rename(new.parent)

    assert relocate(new / "mlflow.db", "diysink") == 2
    assert relocate(new / "mlflow.db", "diysink") == 0
    with closing(sqlite3.connect(new / "mlflow.db")) as database:
        uris = dict(database.execute("select run_uuid, artifact_uri from runs").fetchall())
        locations = dict(database.execute("select name, artifact_location from experiments"))
    assert uris[mine.info.run_id] == mine.info.artifact_uri.replace(old.as_uri(), new.as_uri())
    assert uris[theirs.info.run_id] == theirs.info.artifact_uri
    assert locations["diysink"] == (new / "artifacts").as_uri()
    assert locations["near"] == (tmp_path / "old" / "mlruns-2").as_uri()
    assert near


def test_a_folder_that_was_chosen_for_artefacts_is_no_former_home(tmp_path):
    """Its name and the database's say nothing: only what the database itself noted counts."""
    database = tmp_path / "mlruns" / "mlflow.db"
    uri = f"sqlite:///{database}"
    database.parent.mkdir()
    chosen = (tmp_path / "big" / "artifacts").as_uri()
    (tmp_path / "big" / "artifacts").mkdir(parents=True)
    MlflowClient(uri).create_experiment("diysink", chosen)
    for _ in range(2):
        prepare(uri, "diysink")
        assert MlflowClient(uri).get_experiment_by_name("diysink").artifact_location == chosen
    (tmp_path / "mlruns").rename(tmp_path / "moved")
    prepare(f"sqlite:///{tmp_path}/moved/mlflow.db", "diysink")
    with closing(sqlite3.connect(tmp_path / "moved/mlflow.db")) as opened:
        said = opened.execute("select artifact_location from experiments where name = 'diysink'")
        assert said.fetchone() == (chosen,)


HALF_WAY = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("pragma cache_size = 1")
database.execute("create table big as select hex(randomblob(2000)) as x from experiments")
for _ in range(12):
    database.execute("insert into big select hex(randomblob(2000)) from big")
os.kill(os.getpid(), 9)
"""


def test_what_a_kill_left_half_committed_is_undone(empty_tracking, tmp_path):
    database = tmp_path / "mlflow.db"
    shutil.copy(empty_tracking, database)
    subprocess.run([sys.executable, "-c", HALF_WAY, database], check=False)
    journal = database.with_name("mlflow.db-journal")
    assert journal.stat().st_size > 0
    prepare(f"sqlite:///{database}", "diysink")
    check(database)
    with closing(sqlite3.connect(database)) as opened:
        (rows,) = opened.execute("select count(*) from big").fetchone()
    assert rows == 1, "the inserts were not committed"


def test_a_journal_without_its_database_is_put_aside(tmp_path):
    (tmp_path / "mlflow.db-journal").write_bytes(b"\xd9\xd5\x05\xf9 \xa1c\xd7" + bytes(600))
    prepare(f"sqlite:///{tmp_path}/mlflow.db", "diysink")
    check(tmp_path / "mlflow.db")
    assert (tmp_path / "mlflow.db-journal.aside").exists()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (b"this is no database, but it is long enough to look like a file" * 40, "not a database"),
        ("drop table runs", "lacks runs"),
        ("delete from alembic_version", "version of its tables"),
        ("page", ""),
    ],
)
def test_a_damaged_database_is_named_with_the_remedy(damage, said, empty_tracking, tmp_path):
    database = tmp_path / "mlruns" / "mlflow.db"
    database.parent.mkdir()
    shutil.copy(empty_tracking, database)
    check(database)
    match damage:
        case bytes():
            database.write_bytes(damage)
        case "page":
            data = bytearray(database.read_bytes())
            data[3 * 4096 : 9 * 4096] = b"\xa5" * (6 * 4096)
            database.write_bytes(data)
        case _:
            with closing(sqlite3.connect(database)) as opened, opened:
                opened.execute("pragma foreign_keys = off")
                opened.execute(damage)
    with pytest.raises(TrackingDatabaseError, match=said) as raised:
        prepare(f"sqlite:///{database}", "diysink")
    assert str(database) in str(raised.value)
    assert f"mv {database}* " in str(raised.value)


def test_a_path_that_mlflow_would_unescape_is_refused(tmp_path):
    database = tmp_path / "50%25off" / "mlruns" / "mlflow.db"
    with pytest.raises(TrackingDatabaseError, match="Rename the folder"):
        prepare("sqlite:///" + str(database).replace("%", "%25"), "diysink")
    assert not database.exists()


def test_an_empty_database_file_is_none_yet(tmp_path):
    database = tmp_path / "mlflow.db"
    database.touch()
    prepare(f"sqlite:///{database}", "diysink")
    check(database)
    found = MlflowClient(f"sqlite:///{database}").get_experiment_by_name("diysink")
    assert found.artifact_location == (tmp_path / "artifacts").as_uri()


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////a/b/mlflow.db", "/a/b/mlflow.db"),
        ("sqlite:////a/50%2525/mlflow.db?timeout=3", "/a/50%25/mlflow.db"),
        ("http://127.0.0.1:5000", None),
        ("databricks", None),
        ("postgresql://u@h/db", None),
    ],
)
def test_which_stores_are_files_of_this_machine(uri, path):
    assert local_database(uri) == (None if path is None else Path(path))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """`mlflow server` as the guide starts it, on a free port; its address and its folder."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--serve-artifacts"]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            _wait_for(address, running)
            yield address, folder
        finally:
            running.terminate()
            running.wait(timeout=30)


def _wait_for(address: str, running: "subprocess.Popen[bytes]") -> None:
    started = time.monotonic()
    while time.monotonic() - started < 120:
        assert running.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError("the server did not answer")


@pytest.mark.slow
def test_everything_goes_to_ones_own_server(whole, server, tmp_path):
    """As docs/guides/mlflow.md says: three lines in conf/local, whatever --env is."""
    address, folder = server
    project = make_project(tmp_path / "project")
    shutil.copytree(whole / "data", project / "data")
    lines = {"server": {"mlflow_tracking_uri": address}}
    (project / "conf/local/mlflow.yml").write_text(yaml.safe_dump(lines))
    code, _ = run_in_child(project, "register,report,promote")  # with --env test
    assert code == 0
    assert not (project / "mlruns/mlflow.db").exists()
    assert list((folder / "artifacts").rglob("report.html"))
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("diysink")
    assert experiment.artifact_location.startswith("mlflow-artifacts:")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert {a.path for a in client.list_artifacts(run.info.run_id)} >= {"report.html"}
    # As another machine sees it: another folder, nothing but the server's address.
    script = (
        "import mlflow, pandas, sys\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "asked = pandas.read_parquet(sys.argv[2])\n"
        "answers = mlflow.pyfunc.load_model('models:/diysink@champion').predict(asked)\n"
        "print(len(answers), list(answers.columns))\n"
    )
    asked = tmp_path / "asked.parquet"
    _questions(project).to_parquet(asked)
    away = tmp_path / "away"
    away.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, address, asked],
        cwd=away,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "2 ['answer', " in done.stdout


def _questions(project: Path) -> pd.DataFrame:
    from diysink.records import Records

    records = Records(project / "data/03_primary/records/test")
    return pd.DataFrame(
        {
            "image": [records[i].images[0].data for i in (0, 1)],
            "question": ["what colour is the circle?", "how many things are there?"],
        }
    )


def test_what_conf_local_says_besides_is_not_left_out_in_silence(tmp_path, monkeypatch):
    project = make_project(tmp_path)
    (project / "conf/local/parameters_align.yml").write_text("align: {max_steps: 0}\n")
    said: list[object] = []
    monkeypatch.setattr(store._log, "warning", lambda *words: said.append(words))
    with pytest.raises(ValueError, match="Failed to find the pipeline"):
        kedro_run(project, "no-such-pipeline", env="test")
    assert [words[1:] for words in said] == [("test", "parameters_align.yml")]
