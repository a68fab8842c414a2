"""kill -9 at any moment of any stage; run again; the same artefacts to the last bit."""

import shutil
from pathlib import Path

import pytest

from diysink.artifact import digest_file, read_manifest
from tests.pipelines.project import ROOT, make_project, run_in_child

pytestmark = pytest.mark.slow

# Outputs that a stage publishes, relative to data/; times and run ids are not results.
OUTPUTS = {
    "prepare": ["03_primary/records"],
    "sinks": ["04_feature/sinks", "08_reporting/sinks/histogram.parquet"],
    "align": ["06_models/align", "08_reporting/curves/align.parquet"],
    "finetune": ["06_models/finetune", "08_reporting/curves/finetune.parquet"],
    "reweight": ["06_models/reweight", "08_reporting/curves/reweight.parquet"],
    "evaluate": ["07_model_output/predictions.parquet", "08_reporting/results.json"],
}


def contents(project: Path, stage: str) -> dict[str, str]:
    """What the stage published: the digest of every file."""
    found: dict[str, str] = {}
    for name in OUTPUTS[stage]:
        path = project / "data" / name
        if path.is_dir():
            files = read_manifest(path)["files"]
            found |= {f"{name}/{file}": facts["sha256"] for file, facts in files.items()}
        else:
            found[name] = digest_file(path)
    return found


def before(whole: Path, stage: str, folder: Path) -> Path:
    """A project in which every stage before ``stage`` has run."""
    project = make_project(folder / "project")
    shutil.copytree(whole / "data", project / "data")
    for name in OUTPUTS[stage]:
        path = project / "data" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return project


@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_killed_stage_goes_on_and_ends_with_the_same_artefacts(whole, stage, tmp_path):
    expected = contents(whole, stage)
    unbroken = before(whole, stage, tmp_path / "unbroken")
    code, moves = run_in_child(unbroken, stage)
    assert code == 0
    assert contents(unbroken, stage) == expected, "not even an unbroken run gives the same"

    # At the first and the last move, and in between: one project, killed again and again.
    project = before(whole, stage, tmp_path / "killed")
    for kill_at in (1, max(2, moves // 3), max(3, moves // 2)):
        code, reached = run_in_child(project, stage, kill_at)
        assert (code, reached) == (-9, kill_at)
        for name in OUTPUTS[stage]:  # nothing half-written is in place
            path = project / "data" / name
            if path.is_dir():
                read_manifest(path, thorough=True)
    code, rest = run_in_child(project, stage)
    assert code == 0
    assert contents(project, stage) == expected
    assert rest < moves, "what was finished before the kill was done again"


def test_a_run_that_succeeded_leaves_no_work_behind(whole):
    work = whole / "data" / ".work"
    assert not work.exists() or not list(work.iterdir())


def test_the_project_under_test_is_not_this_checkout(whole):
    assert ROOT not in whole.parents
    assert (whole / "mlruns" / "mlflow.db").is_file()
