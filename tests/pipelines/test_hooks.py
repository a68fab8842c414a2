"""Hooks: what a run leaves behind when it succeeds, and what it must not touch when it fails."""

import io
import json
import time
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import torch
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner
from rich.console import Console

from diysink.artifact import digest_file, write_manifest
from pipelines.datasets import Folder
from pipelines.ending import holding
from pipelines.engines import engine_of
from pipelines.hooks import HOOKS
from pipelines.hooks.engines import Engines
from pipelines.hooks.parameters import Parameters, check_records
from pipelines.hooks.stages import Stages, run_file, stages_of, timings_file
from pipelines.hooks.summary import Summary, accuracy_table
from pipelines.hooks.tracking import Tracking, metrics_of
from pipelines.shared import Ray


def run(project: Path, pipeline: Pipeline, catalog: DataCatalog, hooks: list[object]) -> None:
    """What `kedro run` does around a pipeline, with these hooks alone."""
    manager = _create_hook_manager()
    for hook in hooks:
        manager.register(hook)
    parameters = {"project_path": str(project)}
    around = {"run_params": parameters, "pipeline": pipeline, "catalog": catalog}
    manager.hook.before_pipeline_run(**around)
    SequentialRunner().run(pipeline, catalog, hook_manager=manager, run_id="test")
    manager.hook.after_pipeline_run(**around, run_result={})


def stage(name: str, *nodes: Any) -> Pipeline:
    return Pipeline(list(nodes), tags=f"stage.{name}")


def catalog_of(project: Path, **entries: dict[str, Any]) -> DataCatalog:
    catalog = DataCatalog.from_config(entries)
    catalog["params:workspace"] = "work"
    return catalog


def file_entry(path: Path, **metadata: str) -> dict[str, Any]:
    return {
        "type": "pipelines.datasets.AtomicFile",
        "filepath": str(path),
        "dataset": {"type": "json.JSONDataset"},
        "metadata": metadata,
    }


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_each_stage_leaves_its_seconds_and_its_run(tracking: Path, tmp_path: Path) -> None:
    def slow() -> int:
        time.sleep(0.2)
        return 1

    first = stage("first", node(slow, None, "a", name="slow"), node(abs, "a", "b", name="fast"))
    second = stage("second", node(print, "b", None, name="silent"))
    with mlflow.start_run() as active:
        run(tmp_path, first + second, catalog_of(tmp_path), [Stages()])
        logged = mlflow.get_run(active.info.run_id).data.metrics

    timings = read(tmp_path / timings_file("first"))
    assert [n["name"] for n in timings["nodes"]] == ["slow", "fast"]
    assert 0.2 <= timings["nodes"][0]["seconds"] <= timings["seconds"] < 5
    assert timings["peak_bytes"] > 10 * 2**20
    assert logged["seconds.first"] == timings["seconds"]
    assert read(tmp_path / timings_file("second"))["nodes"][0]["name"] == "silent"
    made = read(tmp_path / run_file("first"))
    assert made["run_id"] == active.info.run_id
    assert made["environment"]["versions"]["torch"]
    assert made["environment"]["machine"]["cores"] >= 1


def test_a_stage_is_written_before_the_next_one_reads(tmp_path: Path) -> None:
    def look() -> bool:
        return (tmp_path / timings_file("first")).is_file()

    seen = tmp_path / "seen.json"
    pipeline = stage("first", node(lambda: 1, None, "a", name="one")) + stage(
        "second", node(lambda a: look(), "a", "seen", name="two")
    )
    run(tmp_path, pipeline, catalog_of(tmp_path, seen=file_entry(seen)), [Stages()])
    assert read(seen) is True


def test_a_node_ends_with_its_last_output(tmp_path: Path) -> None:
    seen = []

    class Watching(MemoryDataset):
        def _save(self, data: Any) -> None:
            seen.append((tmp_path / timings_file("s")).is_file())

    catalog = catalog_of(tmp_path)
    catalog["a"], catalog["b"] = Watching(), Watching()
    run(tmp_path, stage("s", node(lambda: (1, 2), None, ["a", "b"], name="n")), catalog, [Stages()])
    assert seen == [False, False]
    assert (tmp_path / timings_file("s")).is_file()


def test_without_tracking_a_stage_has_no_run_id(tmp_path: Path) -> None:
    pipeline = stage("only", node(lambda: 1, None, "a", name="one"))
    run(tmp_path, pipeline, catalog_of(tmp_path), list(HOOKS))
    assert read(tmp_path / run_file("only"))["run_id"] is None


def test_peak_memory_is_of_the_node_and_not_of_the_process(tmp_path: Path) -> None:
    def big() -> int:
        return len(b"x" * (300 * 2**20))

    pipeline = stage("s", node(big, None, "a", name="big"), node(abs, "a", "b", name="small"))
    run(tmp_path, pipeline, catalog_of(tmp_path), [Stages()])
    peaks = {n["name"]: n["peak_bytes"] for n in read(tmp_path / timings_file("s"))["nodes"]}
    assert peaks["big"] - peaks["small"] > 200 * 2**20


def test_metrics_artifacts_tags_and_digests_reach_mlflow(
    tracking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", "evaluate")
    monkeypatch.setenv("DVC_EXP_NAME", "narrow-hill")
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "file").write_text("x")
    write_manifest(folder)
    entries = {
        "metrics": file_entry(tmp_path / "metrics.json", mlflow="metrics"),
        "note": file_entry(tmp_path / "note.json", mlflow="artifact"),
        "plain": file_entry(tmp_path / "plain.json"),
        "folder": {"type": "pipelines.datasets.Folder", "filepath": str(tmp_path / "published")},
    }
    values = {"dual+rew": {"global": 0.75, "words": "no number"}, "bad": float("nan")}
    pipeline = stage(
        "s",
        node(lambda: values, None, "metrics", name="metrics"),
        node(lambda: {"a": 1}, None, "note", name="note"),
        node(lambda: {"never": 1}, None, "plain", name="plain"),
        node(lambda: folder, None, "folder", name="folder"),
    )
    # NaN is no strict JSON: kept out of the file, as the pipelines do.
    values.pop("bad")
    with mlflow.start_run() as active:
        run(tmp_path, pipeline, catalog_of(tmp_path, **entries), [Tracking()])
    data = mlflow.get_run(active.info.run_id).data
    assert data.metrics == {"dual_rew.global": 0.75}
    assert data.tags["dvc.stage"] == "evaluate"
    assert data.tags["dvc.experiment"] == "narrow-hill"
    assert data.tags["digest.folder"] == digest_file(folder / "manifest.json")
    artifacts = [a.path for a in mlflow.MlflowClient().list_artifacts(active.info.run_id)]
    assert artifacts == ["note.json"]


def test_an_unknown_wish_of_the_catalog_is_an_error(tracking: Path, tmp_path: Path) -> None:
    entry = file_entry(tmp_path / "a.json", mlflow="metric")
    pipeline = stage("s", node(lambda: {}, None, "a", name="one"))
    with mlflow.start_run(), pytest.raises(ValueError, match="expected 'metrics'"):
        run(tmp_path, pipeline, catalog_of(tmp_path, a=entry), [Tracking()])


def test_numbers_are_found_by_path_and_nothing_else() -> None:
    found = dict(metrics_of({"a": {"b": 1, "c": True, "d": "x"}, "e": float("inf"), "f": None}))
    assert found == {"a.b": 1.0}


def row(variant: str, group: str, accuracy: float) -> dict[str, Any]:
    low, high = accuracy - 0.02, accuracy + 0.02
    return {
        "variant": variant,
        "group": group,
        "accuracy": accuracy,
        "low": low,
        "high": high,
        "training_low": None,
        "training_high": None,
        "n_items": 500,
        "n_seeds": 1,
    }


def test_the_closing_table_names_every_variant_and_where_to_look(
    tracking: Path, tmp_path: Path
) -> None:
    results = {
        "accuracy": [row("dual", "all", 0.9), row("single", "all", 0.8)],
        "verdict": ["dual [beats] single"],
    }
    entry = file_entry(tmp_path / "data/08_reporting/results.json")
    pipeline = stage("evaluate", node(lambda: results, None, "results", name="evaluate"))
    pipeline += stage("report", node(len, "results", "n", name="report"))
    text = io.StringIO()
    console = Console(file=text, width=200)
    with mlflow.start_run() as active:
        run(tmp_path, pipeline, catalog_of(tmp_path, results=entry), [Summary(console)])
    printed = text.getvalue()
    assert "90.0 [88.0, 92.0]" in printed
    assert "n=500" in printed
    assert "dual [beats] single" in printed
    assert str(tmp_path / "data/08_reporting/report.html") in printed
    assert active.info.run_id in printed


def test_claims_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "data/08_reporting/claims/claim_verdicts.parquet"
    path.parent.mkdir(parents=True)
    pipeline = stage("claims", node(lambda: 1, None, "a", name="one"))

    def printed(**columns: list[Any]) -> str:
        pd.DataFrame(columns).to_parquet(path)
        text = io.StringIO()
        run(tmp_path, pipeline, catalog_of(tmp_path), [Summary(Console(file=text))])
        return text.getvalue()

    verdicts = ["shown", "refuted", "undecided", "undecided"]
    line = printed(number=[1, 2, 3, 4], verdict=verdicts).strip()
    assert line == "Claims      1 shown (1), 1 refuted (2), 2 undecided (3, 4)"
    assert printed() == ""


def test_a_run_without_results_prints_no_table(tmp_path: Path) -> None:
    (tmp_path / "data/08_reporting").mkdir(parents=True)
    (tmp_path / "data/08_reporting/results.json").write_text('{"accuracy": []}')
    text = io.StringIO()
    pipeline = stage("align", node(lambda: 1, None, "a", name="one"))
    run(tmp_path, pipeline, catalog_of(tmp_path), [Summary(Console(file=text))])
    assert text.getvalue() == ""


def test_missing_cells_and_intervals_leave_no_hole() -> None:
    rows = [row("dual", "all", 0.9), row("dual", "local", 0.8), row("single", "all", 0.8)]
    rows[0] |= {"low": None, "high": None}
    text = io.StringIO()
    Console(file=text, width=100).print(accuracy_table(rows))
    line = next(line for line in text.getvalue().splitlines() if "dual" in line)
    assert "90.0 " in line
    assert "80.0 [78.0, 82.0]" in line


def test_with_several_trainings_intervals_are_over_trainings_too() -> None:
    text = io.StringIO()
    several = {"n_seeds": 3, "training_low": 0.61, "training_high": 0.99}
    Console(file=text, width=100).print(accuracy_table([row("dual", "all", 0.8) | several]))
    assert "80.0 [61.0, 99.0]" in text.getvalue()
    assert "over trainings and images]" in " ".join(text.getvalue().split())


def test_the_table_fits_a_narrow_terminal() -> None:
    groups = ("all", "global", "local", "mixed")
    rows = [row("dual-reweight-keys", group, 0.985) for group in groups]
    text = io.StringIO()
    Console(file=text, width=80).print(accuracy_table(rows, digits=0))
    assert text.getvalue().count("98.5 [96, 100]") == 4
    assert "dual-reweight-keys" in text.getvalue()


def test_stages_come_in_the_order_of_the_run() -> None:
    pipeline = stage("b", node(abs, "x", "y", name="n1")) + stage(
        "a", node(abs, "y", "z", name="n2")
    )
    pipeline += Pipeline([node(abs, "z", "w", name="of_no_stage")])
    assert stages_of(pipeline) == ["b", "a"]


def test_a_node_takes_settings_where_mlflow_logs_parameters() -> None:
    hook, inputs = Parameters(), {"params:align": {"a": 1}, "params:other": 2, "records": 3}
    hook._settings = {"align": "settings", "sinks": "not taken"}
    assert hook.before_node_run(inputs) == {"params:align": "settings"}
    assert inputs["params:align"] == {"a": 1}


def test_records_at_a_url_are_for_the_stage_that_reads_them_there() -> None:
    records = Folder(filepath="s3://bucket/records")
    catalog = DataCatalog({"records": records})
    pipeline = Pipeline([node(lambda records: 1, "records", "found", name="measure")])
    check_records(catalog, pipeline, ["sinks"])
    with pytest.raises(ValueError, match="For align copy them to a folder"):
        check_records(catalog, pipeline, ["align", "sinks"])
    check_records(DataCatalog({"records": Folder(filepath="data/x")}), pipeline, ["align"])


def test_workers_on_a_device_end_with_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    class Engine:
        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            closed.append(self.name)

    monkeypatch.setattr("diysink.engine.make_engine", lambda name, *a, **more: Engine(name))
    monkeypatch.setattr("diysink.device.resolve_device", torch.device)
    with holding():
        engine_of("local", 2, device="cpu")
        Engines().after_node_run()
        assert closed == []
        engine_of("local", 2, device="cuda")
        Engines().after_node_run()
        assert closed == ["local"]
        ray = Ray(address=None, num_cpus=1, num_gpus=1, max_retries=0, runtime_env={})
        engine_of("ray", 0, ray, device="auto")
        Engines().after_node_run()
        assert closed == ["local", "ray"]
