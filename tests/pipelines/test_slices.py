"""A run may start at any node: what the nodes before it made is read from disk."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.framework.startup import bootstrap_project

from pipelines.dvc import Layout
from pipelines.pipeline_registry import register_pipelines
from pipelines.session import Session
from pipelines.settings import CONFIG_LOADER_ARGS
from tests.pipelines.project import ROOT

NODES = [
    pytest.param(name, node.name, id=f"{name}-{node.name}")
    for name, pipeline in register_pipelines().items()
    for node in pipeline.nodes
]


@pytest.fixture(scope="module")
def layout() -> Layout:
    return Layout(ROOT, CONFIG_LOADER_ARGS)


def lasts(layout: Layout, name: str) -> bool:
    """Whether a dataset is there after the run that made it."""
    entry = layout.entry(name) or {}
    return bool(entry) and "MemoryDataset" not in entry["type"] and "filepath" in entry


@pytest.mark.parametrize(("pipeline", "start"), NODES)
def test_a_run_can_start_at_every_node(layout: Layout, pipeline: str, start: str) -> None:
    rest = register_pipelines()[pipeline].from_nodes(start)
    datasets = {name for name in rest.inputs() if not name.startswith("params:")}
    fleeting = [name for name in sorted(datasets) if not lasts(layout, name)]
    assert fleeting == [], f"{start} and what follows it read datasets that are kept in memory"


def test_every_output_stays_on_disk(layout: Layout) -> None:
    """So that `--from-nodes` holds for nodes to come as well."""
    outputs = {
        name for pipeline in register_pipelines().values() for name in pipeline.all_outputs()
    }
    assert [name for name in sorted(outputs) if not lasts(layout, name)] == []


def sliced(project: Path, start: str, end: str) -> None:
    """``kedro run --env test --from-nodes start --to-nodes end``, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        bootstrap_project(project)
        with Session.create(project_path=project, env="test") as session:
            session.run(from_nodes=[start], to_nodes=[end])


@pytest.fixture(scope="module")
def finished(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a project in which everything ran once."""
    return shutil.copytree(whole, tmp_path_factory.mktemp("slices") / "project")


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Kedro, MLflow, Great Expectations as they are imported
def test_records_are_checked_and_admitted_once_more(finished: Path) -> None:
    records, docs = finished / "data/03_primary/records", finished / "data/08_reporting/data_docs"
    before = (records / "manifest.json").read_bytes()
    for folder in (records, docs):
        shutil.rmtree(folder)
    sliced(finished, "check_records", "admit_records")
    assert (records / "manifest.json").read_bytes() == before
    assert (docs / "index.html").is_file()
    shard = next(records.rglob("*.parquet"))
    taken = finished / "data/02_intermediate/candidates" / shard.relative_to(records)
    assert taken.samefile(shard), "the same bytes lie on disk twice"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Kedro, MLflow, Great Expectations as they are imported
def test_results_and_report_are_made_from_the_predictions_of_an_earlier_run(finished: Path) -> None:
    reporting = finished / "data/08_reporting"
    results, page = read(reporting / "results.json"), (reporting / "report.html").read_text()
    predictions = finished / "data/07_model_output/predictions.parquet"
    table = pd.read_parquet(predictions)
    for name in ("results.json", "report.html"):
        (reporting / name).unlink()
    sliced(finished, "summarize", "write_report")
    assert read(reporting / "results.json") == results
    assert pd.read_parquet(predictions).equals(table)
    again = (reporting / "report.html").read_text()
    assert again.count("<table") == page.count("<table")
    assert again.count("<svg") == page.count("<svg")
