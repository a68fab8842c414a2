"""The published benchmarks through a tiny stock model: kept answers, the table, two at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog

from diysink.evaluation.benchmarks import BENCHMARKS, Benchmark
from diysink.evaluation.lvlm import load_lvlm
from diysink.evaluation.parts import PREDICTIONS
from diysink.evaluation.predict import predict
from diysink.records import SourceError
from pipelines import settings
from pipelines.benchmarks.asked import Asked
from pipelines.benchmarks.labels import label_benchmarks
from pipelines.benchmarks.nodes import answer_benchmarks, tabulate_benchmarks
from pipelines.benchmarks.page import table_of
from pipelines.benchmarks.settings import Benchmarks
from pipelines.evaluate.models import loaded_lvlm
from pipelines.hooks.outputs import written_together
from pipelines.parameters import build
from pipelines.pipeline_registry import register_pipelines
from pipelines.problems import ParameterError
from tests.engine.posted import Posted
from tests.evaluation import lvlms
from tests.pipelines.project import ROOT
from tests.pipelines.test_conf import PRESETS, changed, parameters, settings_of
from tests.pipelines.test_evaluate import MODEL, NOWHERE, lvlm_at, own, small

VARIANTS: dict[str, Any] = {
    "stock": {"change": "none"},
    "front": {"change": "reposition", "options": {"where": "front"}},
    "front-random-matched": {
        "change": "reposition",
        "options": {"where": "front"},
        "control": "random-matched",
    },
}


def ours(folder: Path, split: str) -> list[Any]:
    """A published benchmark: the tiny questions, if its file is there."""
    words = json.loads((folder / f"{split}.json").read_text())
    return [one for one in lvlms.questions() if one.conversations[1].text in words]


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Benchmark("tiny", load=ours, published=True, max_new_tokens=2)
    monkeypatch.setitem(BENCHMARKS, "tiny", row)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lvlms.llava(tmp_path_factory.mktemp("planted"), lvlms.steep)


def asking(root: Path, **changes: Any) -> Benchmarks:
    (root / "raw/tiny").mkdir(parents=True, exist_ok=True)
    (root / "raw/tiny/test.json").write_text(json.dumps(list("abcdefgh")))
    values = parameters("base")["benchmarks"] | {
        "folder": str(root / "raw"),
        "answers": str(root / "answers"),
        "chosen": {"tiny": {}, "absent": {"like": "tiny"}},
        "every": 10,
        "columns": {
            "Tiny": {"numbers": ["tiny/accuracy"]},
            "Both": {"numbers": ["tiny/accuracy", "absent/accuracy"]},
        },
        "paper": {"front": {"Tiny": 51.0}},
    }
    return Benchmarks.model_validate(values | changes)


def answered(planted: Path, benchmarks: Benchmarks) -> dict[str, Any]:
    models = (NOWHERE, NOWHERE, MODEL, lvlm_at(planted), small(VARIANTS))
    return answer_benchmarks(*models, benchmarks, [0], 0, "cpu")


def test_answers_are_those_of_the_model_and_are_kept(planted, tmp_path, monkeypatch):
    benchmarks = asking(tmp_path)
    found = answered(planted, benchmarks)
    assert list(found["answers"]) == ["tiny"]
    assert list(found["answers"]["tiny"]) == list(VARIANTS)
    assert "absent" in found["benchmarks"]["absent"]["not_run"]
    assert found["benchmarks"]["tiny"]["items"] == len(lvlms.questions())
    stock = pd.read_parquet(Path(found["answers"]["tiny"]["stock"]["0"]) / PREDICTIONS)
    lvlm = load_lvlm(planted, dtype=torch.float32, max_new_tokens=2)
    expected = predict(
        lvlm, lvlms.questions(), benchmark=BENCHMARKS["test"], variant="stock", batch=10
    )
    assert stock["prediction"].tolist() == expected["prediction"].tolist()
    assert stock["id"].tolist() == expected["id"].tolist()
    # The benchmark's limit of two tokens, not the run's of three, also around an intervention.
    front = pd.read_parquet(Path(found["answers"]["tiny"]["front"]["0"]) / PREDICTIONS)
    assert front["prediction"].str.split().map(len).max() == 2
    # Asked again, no model is loaded; of other items, it is.
    monkeypatch.setattr("pipelines.evaluate.models.loaded_lvlm", None)
    assert answered(planted, benchmarks) == found
    with pytest.raises(TypeError, match="NoneType"):
        answered(planted, asking(tmp_path, limit=7))


def test_two_at_once_do_the_work_once(planted, tmp_path, monkeypatch):
    asked: list[str] = []

    def counting(model: Any, items: Any, **more: Any) -> pd.DataFrame:
        table = predict(model, items, **more)
        asked.extend(f"{more['variant']}/{name}" for name in table["id"])
        return table

    alone = answered(planted, asking(tmp_path / "alone"))
    monkeypatch.setattr("diysink.evaluation.predict.predict", counting)
    monkeypatch.setattr("pipelines.benchmarks.nodes.forget_lvlm", lambda: None)
    # One model of this process, which two threads must not use at once: only stock, which adds
    # nothing around it.
    benchmarks = asking(tmp_path / "together")
    stock = changed(small(), variants=only_stock())
    models = (NOWHERE, NOWHERE, MODEL, lvlm_at(planted), stock)
    # transformers unties all models of the process for good if two threads load one at once.
    loaded_lvlm(lvlm_at(planted), stock.max_new_tokens, "cpu")
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(answer_benchmarks, *models, benchmarks, [0], 0, "cpu") for _ in range(2)
        ]
        one, other = (run.result() for run in runs)
    assert one == other
    assert sorted(asked) == sorted(f"stock/{record.id}" for record in lvlms.questions())
    folders = [Path(run["answers"]["tiny"]["stock"]["0"]) / PREDICTIONS for run in (one, alone)]
    tables = [pd.read_parquet(folder) for folder in folders]
    assert tables[0]["prediction"].tolist() == tables[1]["prediction"].tolist()


def test_workers_answer_and_label_the_same(planted, tmp_path, monkeypatch):
    """They get no model but its folder, and leave nothing changed in it between two parts."""
    rule = {"local": 0.3, "whole": 0.7, "complexity": 0.0}

    def tables(root: Path) -> list[pd.DataFrame]:
        benchmarks = asking(root, taxonomy=rule)
        found = answered(planted, benchmarks)["answers"]["tiny"]
        labels = label_benchmarks(
            NOWHERE, lvlm_at(planted), small(VARIANTS), benchmarks, [0], "cpu"
        )
        folders = [*(found[name]["0"] for name in VARIANTS), labels["tiny"]]
        return [pd.read_parquet(Path(folder) / PREDICTIONS) for folder in folders]

    here, engine = tables(tmp_path / "here"), Posted()
    for module in ("nodes", "labels"):
        monkeypatch.setattr(f"pipelines.benchmarks.{module}.engine_of", lambda *_: engine)
    there = tables(tmp_path / "there")
    assert engine.sent == 4 * -(-len(lvlms.questions()) // 10)
    for one, other in zip(here, there, strict=True):
        pd.testing.assert_frame_equal(one, other)


def only_stock() -> dict[str, Any]:
    return {
        "baseline": "stock",
        "candidate": "stock",
        "compare": [],
        "variants": {"stock": VARIANTS["stock"]},
    }


def test_the_table_has_our_numbers_beside_the_papers(planted, tmp_path):
    benchmarks = asking(tmp_path, limit=20)
    found = answered(planted, benchmarks)
    results, metrics, page = tabulate_benchmarks(found, {}, small(VARIANTS), benchmarks, 0)
    rows = {(row["column"], row["variant"]): row for row in results["columns"]}
    stock = pd.read_parquet(Path(found["answers"]["tiny"]["stock"]["0"]) / PREDICTIONS)
    assert len(stock) == 20
    assert rows["Tiny", "stock"]["value"] == pytest.approx(stock["correct"].mean())
    assert rows["Tiny", "front"]["paper"] == 51.0
    assert rows["Both", "stock"]["missing"] == ["absent/accuracy"]
    assert metrics["tiny"]["stock"]["accuracy"] == pytest.approx(stock["correct"].mean())
    assert {row["variant"] for row in results["counts"]} == set(VARIANTS)
    assert results["limit"] == 20
    for said in (found["protocol"], "51", "not run", "first 20 items"):
        assert said in page
    assert table_of(json.loads(json.dumps(results))) == page


def test_items_that_cannot_be_asked_stop_the_run_before_any_answer(planted, tmp_path, monkeypatch):
    """The last one, and what is read well is read once."""
    benchmarks, read = asking(tmp_path), []

    class Broken(list[Any]):
        bad = True

        def __getitem__(self, index: Any) -> Any:
            read.append(index)
            if self.bad and index == len(self) - 1:
                raise SourceError("row 23: truncated JPEG")
            return super().__getitem__(index)

    items = Broken(lvlms.questions())
    row = replace(BENCHMARKS["tiny"], load=lambda folder, split: items)
    monkeypatch.setitem(BENCHMARKS, "tiny", row)
    with pytest.raises(ValueError, match=rf"1 of {len(items)} items .*row 23: truncated JPEG"):
        answered(planted, benchmarks)
    assert not list(tmp_path.rglob("*.parquet"))
    Broken.bad = False
    one = Asked.of(*benchmarks.rows()[0])
    one.check(tmp_path / "answers", 5)
    read.clear()
    one.check(tmp_path / "answers", 5)
    assert read == []
    vqa = Asked.of(replace(one.row, metric="vqa"), tmp_path / "raw/tiny")
    with pytest.raises(ValueError, match="needs at least 4"):
        vqa.check(tmp_path / "answers", 5)


def test_published_ids_may_repeat(tmp_path):
    answers = kept(tmp_path, stock=[1, 0, 1, 1], front=[0, 0, 1, 1])
    labels = pd.DataFrame({"id": "same", "label": ["global", "global", "local", "local"]})
    (tmp_path / "labels").mkdir()
    labels.to_parquet(tmp_path / "labels" / PREDICTIONS)
    for by_seed in answers["answers"]["pope"].values():
        path = Path(by_seed["0"]) / PREDICTIONS
        pd.read_parquet(path).assign(id="same").to_parquet(path)
    folders = {"pope": str(tmp_path / "labels")}
    results, _, _ = tabulate_benchmarks(answers, folders, small(VARIANTS), asking(tmp_path), 0)
    found = {(row["variant"], row["group"]): row["accuracy"] for row in results["groups"]}
    assert found["stock", "global"] == 0.5
    assert (found["front", "global"], found["front", "local"]) == (0, 1)


def kept(root: Path, **right: list[int]) -> dict[str, Any]:
    """Answers to POPE as a run keeps them, an image each; no object is there."""
    folders = {}
    for variant, answers in right.items():
        rows = pd.DataFrame({"correct": [float(one) for one in answers]})
        rows["image"] = rows["id"] = [f"i{number}" for number in range(len(rows))]
        rows = rows.assign(variant=variant, seed=0, group=None, subtask="random", reference="no")
        rows = rows.assign(guessed=False, parsed=None)
        folders[variant] = {"0": (root / variant).as_posix()}
        (root / variant).mkdir()
        rows.to_parquet(root / variant / PREDICTIONS)
    return {
        "protocol": "p",
        "limit": None,
        "benchmarks": {"pope": {"metric": "pope", "split": "coco"}},
        "answers": {"pope": folders},
        "refused": {},
    }


def test_what_cannot_be_counted_is_in_no_file(tmp_path):
    """No answer of stock is yes, so there is no precision: JSON and MLflow know no NaN."""
    answers = kept(tmp_path, stock=[1, 1, 1], front=[1, 0, 1])
    benchmarks = asking(tmp_path, columns={"P": {"numbers": ["pope/precision"]}})
    results, metrics, page = tabulate_benchmarks(answers, {}, small(VARIANTS), benchmarks, 0)
    json.dumps([results, metrics], allow_nan=False)
    assert "precision" not in metrics["pope"]["stock"]
    assert metrics["pope"]["stock"]["accuracy"] == 1
    assert metrics["pope"]["front"]["precision"] == 0
    assert table_of(json.loads(json.dumps(results))) == page


def test_one_image_has_a_difference_without_an_interval(tmp_path):
    answers = kept(tmp_path, stock=[1], front=[0])
    benchmarks = asking(tmp_path, columns={"A": {"numbers": ["pope/accuracy"]}})
    results, _, page = tabulate_benchmarks(answers, {}, small(VARIANTS), benchmarks, 0)
    row = next(row for row in results["columns"] if row["variant"] == "front")
    assert (row["value"], row["difference"], row["difference_low"]) == (0, -1, None)
    assert "| front | -100.0 |" in page


def test_a_benchmark_that_no_column_names_has_one_of_its_own(planted, tmp_path):
    benchmarks = asking(tmp_path, limit=20, columns={"Both": {"numbers": ["absent/accuracy"]}})
    found = answered(planted, benchmarks)
    results, metrics, _ = tabulate_benchmarks(found, {}, small(VARIANTS), benchmarks, 0)
    values = {(row["column"], row["variant"]): row.get("value") for row in results["columns"]}
    assert {column for column, _ in values} == {"Both", "tiny"}
    assert values["tiny", "front"] == pytest.approx(metrics["tiny"]["front"]["accuracy"])
    named, _, _ = tabulate_benchmarks(found, {}, small(VARIANTS), asking(tmp_path, limit=20), 0)
    assert {row["column"] for row in named["columns"]} == {"Tiny", "Both"}


def test_a_variant_that_cannot_be_made_is_left_out(parts, tmp_path):
    """A DIYSink model numbers its tokens itself: nothing can be carried."""
    carry = {"change": "reposition", "options": {"where": "front", "positions": "carry"}}
    both = {"stock": VARIANTS["stock"], "carry": carry}
    evaluate = changed(small(), variants=only_stock() | {"variants": both})
    benchmarks = asking(tmp_path, limit=4)
    models = (NOWHERE, NOWHERE, MODEL, lvlm_at(own(parts, tmp_path / "model")), evaluate)
    found = answer_benchmarks(*models, benchmarks, [0], 0, "cpu")
    assert list(found["refused"]) == ["carry"]
    assert list(found["answers"]["tiny"]) == ["stock"]
    alone = {"baseline": "carry", "candidate": "carry", "variants": {"carry": carry}}
    with pytest.raises(ValueError, match="No variant can be made"):
        answer_benchmarks(
            *models[:-1], changed(evaluate, variants=alone), benchmarks, [0], 0, "cpu"
        )
    results, _, page = tabulate_benchmarks(found, {}, evaluate, benchmarks, 0)
    assert [row["variant"] for row in results["columns"]] == ["stock", "stock"]
    assert "Left out: carry" in page


def test_questions_are_labelled_by_the_model_at_hand(planted, tmp_path):
    """Labels take the place of the published groups; made once."""
    rule = {"local": 0.45, "whole": 0.55, "complexity": 0.0}
    benchmarks = asking(tmp_path, limit=30, taxonomy=rule)
    found = answered(planted, benchmarks)
    lvlm, evaluate = lvlm_at(planted), small(VARIANTS)
    folders = label_benchmarks(NOWHERE, lvlm, evaluate, benchmarks, [0], "cpu")
    labels = pd.read_parquet(Path(folders["tiny"]) / PREDICTIONS)
    assert labels["id"].tolist() == [record.id for record in lvlms.questions()[:30]]
    assert set(labels["label"]) <= {"global", "local", "mixed"}
    assert labels["globalness"].between(0, 1).all()
    results, _, _ = tabulate_benchmarks(found, folders, evaluate, benchmarks, 0)
    stock = pd.read_parquet(Path(found["answers"]["tiny"]["stock"]["0"]) / PREDICTIONS)
    rows = {(row["variant"], row["group"]): row for row in results["groups"]}
    counted = labels["label"].value_counts()
    if len(counted) > 1:
        name = counted.index[0]
        of = stock.merge(labels, on="id")
        assert rows["stock", name]["n_items"] == counted[name]
        assert rows["stock", name]["accuracy"] == of.loc[of["label"] == name, "correct"].mean()
    assert label_benchmarks(NOWHERE, lvlm, evaluate, benchmarks, [0], "cpu") == folders
    none = benchmarks.model_copy(update={"taxonomy": None})
    assert label_benchmarks(NOWHERE, lvlm, evaluate, none, [0], "cpu") == {}


def test_no_files_at_all_stops_the_run(planted, tmp_path):
    with pytest.raises(ValueError, match="No benchmark has its files"):
        answered(planted, asking(tmp_path, chosen={"absent": {"like": "tiny"}}))


def test_settings_that_are_wrong_are_named():
    values = parameters("base")
    with pytest.raises(ParameterError) as error:
        build(values | {"benchmarks": values["benchmarks"] | {"chosen": {"gqq": {}}}}, [])
    assert [problem.where for problem in error.value.problems] == ["benchmarks.chosen.gqq"]
    with pytest.raises(ParameterError) as error:
        build(values | {"benchmarks": values["benchmarks"] | {"chosen": {}}}, {"benchmarks"})
    assert "benchmarks.chosen" in [problem.where for problem in error.value.problems]


def test_runs_of_it_may_write_together_and_no_others_may():
    pipelines = register_pipelines()
    arguments = {**settings.CONFIG_LOADER_ARGS, "default_run_env": "base"}
    loader = OmegaConfigLoader(conf_source=str(ROOT / "conf"), env="base", **arguments)
    entries = DataCatalog.from_config(loader["catalog"])
    found = written_together(entries, pipelines["benchmarks"])
    assert found == pipelines["benchmarks"].all_outputs() | {"stage.benchmarks"}
    assert written_together(entries, pipelines["evaluate"]) == set()


def test_presets_have_the_papers_figures_and_no_others():
    """A preset that extends another one takes over none of its figures."""
    papers = {env: settings_of(env)["benchmarks"].paper for env in PRESETS}
    assert papers["llava-1.5-7b"]["single"] == {
        "LLaVA-eval": 56.55,
        "MME": 1781.70,
        "MathVista": 26.0,
    }
    assert papers["tinyllava-3b-qwen"] == {"single": {"MathVista": 30.4}}
    assert papers["internvl2.5-4b"]["front"]["MME"] == 2351.33
    assert papers["qwen2.5-vl-7b"] == papers["test"] == {}
    for env, paper in papers.items():
        settings = settings_of(env)
        assert paper.keys() <= settings["evaluate"].variants.chosen.keys()
        for figures in paper.values():
            assert figures.keys() <= settings["benchmarks"].columns.keys()


def test_the_papers_average_is_the_mean_of_its_four_figures():
    """Of the 0.5B model: GQA, TextVQA, and in its table of dual MLPs ScienceQA and MMMU."""
    assert round((57.98 + 47.32 + 57.76 + 30.3) / 4, 2) == 48.34
    numbers = settings_of("tinyllava-0.5b")["benchmarks"].columns["LLaVA-eval"].numbers
    assert [number.split("/")[0] for number in numbers] == ["gqa", "textvqa", "scienceqa", "mmmu"]
