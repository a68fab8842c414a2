"""The evaluation of any model: fine-tuned ones, and an LVLM by its folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from diysink.artifact import write_manifest
from diysink.evaluation.lvlm_sinks import NoThresholdError
from diysink.interventions import VAR, Drop, Keep, RandomMatched, Replace, Reposition, Scale
from diysink.interventions.named import change_of
from diysink.sinks import CalibrationSettings, SinkProfile
from pipelines.evaluate.nodes import measure_lvlm_sinks, predict_answers, summarize
from pipelines.evaluate.settings import Evaluate, Lvlm
from tests.evaluation import lvlms
from tests.pipelines.project import kedro_run, make_project
from tests.pipelines.test_conf import parameters, settings_of
from tests.tiny_models import assemble_tiny

FRONT = {"change": "reposition", "options": {"where": "front"}}
FEW: dict[str, Any] = {
    "stock": {"change": "none"},
    "again": {"change": "none"},
    "front": FRONT,
    "front-random-matched": FRONT | {"control": "random-matched"},
    "end-random-matched": {
        "change": "reposition",
        "options": {"where": "end"},
        "control": "random-matched",
    },
}
MODEL = settings_of("base")["model"]
NOWHERE = Path("nowhere")
UNKNOWN = pd.DataFrame({"image": [], "simple": []})


def small(variants: dict[str, Any] = FEW, **changes: Any) -> Evaluate:
    """Settings for two dozen tiny images."""
    values = parameters("base")["evaluate"] | {"max_new_tokens": 3, "batch": 16, "resamples": 50}
    chosen = {
        "baseline": "stock",
        "candidate": "front",
        "compare": [["front", "front-random-matched"]],
        "variants": variants,
    }
    return Evaluate.model_validate(values | {"variants": chosen} | changes)


def lvlm_at(path: Path, **changes: Any) -> Lvlm:
    values = parameters("base")["lvlm"] | {"path": str(path), "dtype": "float32"}
    return Lvlm.model_validate(values | {"bootstrap": {"replicates": 50, "seed": 0}} | changes)


def answers(
    records: Path, sinks: Path, lvlm: Lvlm, evaluate: Evaluate, work: Path
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Of an LVLM: there is no fine-tuned model."""
    models = (NOWHERE, NOWHERE, sinks, UNKNOWN, None)
    return predict_answers(records, *models, MODEL, lvlm, evaluate, [0], 0, str(work), "cpu")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lvlms.splits(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lvlms.llava(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lvlms.llava(tmp_path_factory.mktemp("planted"), lvlms.steep)


@pytest.fixture(scope="module")
def answered(
    records: Path, planted: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, pd.DataFrame, dict[str, str], Path]:
    """Sinks, predictions, refusals and workspace of the model with planted sinks."""
    work = tmp_path_factory.mktemp("work")
    sinks = measure_lvlm_sinks(records, lvlm_at(planted), small(), "cpu", str(work))
    return sinks, *answers(records, sinks, lvlm_at(planted), small(), work), work


def test_planted_sinks_are_calibrated_by_norms_alone(answered: tuple[Any, ...]) -> None:
    profile = SinkProfile.load(answered[0] / "profile.json")
    assert 6 < profile.tau < 45  # ordinary tokens are below 5, planted ones at 50
    assert profile.images == lvlms.PICTURES
    assert profile.verdict == "found by norms alone"


def test_stock_twice_is_the_same_and_front_is_another(answered: tuple[Any, ...]) -> None:
    _, predictions, refused, _ = answered
    assert refused == {}
    texts = {name: list(rows["prediction"]) for name, rows in predictions.groupby("variant")}
    assert list(dict.fromkeys(predictions["variant"])) == list(FEW)
    assert texts["stock"] == texts["again"]
    assert texts["front"] != texts["stock"]
    assert texts["front-random-matched"] != texts["front"]
    assert (predictions["seed"] == 0).all()
    controls = predictions.groupby("variant")["control"].first()
    assert controls["front-random-matched"] == "random-matched"
    assert controls["front"] == "none"


def test_killed_and_run_again_nothing_is_answered_twice(
    answered: tuple[Any, ...], records: Path, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sinks, predictions, _, work = answered
    monkeypatch.setattr("pipelines.evaluate.models.loaded_lvlm", None)
    measure_lvlm_sinks(records, lvlm_at(planted), small(), "cpu", str(work))
    again, _ = answers(records, sinks, lvlm_at(planted), small(), work)
    pd.testing.assert_frame_equal(again, predictions)
    other = small(benchmarks={"test": {"metric": "contains"}})
    with pytest.raises(TypeError):  # other parameters are other work
        answers(records, sinks, lvlm_at(planted), other, work)


def test_a_model_without_a_gap_has_no_threshold(records: Path, plain: Path, tmp_path: Path) -> None:
    with pytest.raises(NoThresholdError, match=r"384 visual tokens of 24 images.*lvlm.tau=100"):
        measure_lvlm_sinks(records, lvlm_at(plain), small(), "cpu", str(tmp_path))


def test_a_tau_that_is_given_is_taken_and_weighed(
    records: Path, plain: Path, tmp_path: Path
) -> None:
    lvlm = lvlm_at(plain, tau=4.2, images=6)
    sinks = measure_lvlm_sinks(records, lvlm, small(), "cpu", str(tmp_path))
    profile = SinkProfile.load(sinks / "profile.json")
    assert (profile.method, profile.interval, profile.images) == ("fixed", None, 6)
    assert profile.tau == pytest.approx(4.2)
    assert profile.mean_sinks > 0
    assert not profile.found  # the tail of one population


def test_a_change_that_a_model_cannot_make_is_left_out_and_the_rest_goes_on(
    records: Path, parts: Path, tmp_path: Path
) -> None:
    """A DIYSink model numbers its tokens itself: nothing can be carried."""
    lvlm, work = lvlm_at(own(parts, tmp_path / "model")), tmp_path / "work"
    carry = {"change": "reposition", "options": {"where": "front", "positions": "carry"}}
    evaluate = small(FEW | {"front-carry": carry, "var": {"change": "var"}})
    sinks = measure_lvlm_sinks(records, lvlm, evaluate, "cpu", str(work))
    predictions, refused = answers(records, sinks, lvlm, evaluate, work)
    assert list(predictions["variant"].unique()) == list(FEW)
    assert "positions='reindex'" in refused["front-carry"]
    assert set(refused) == {"front-carry", "var"}
    _, same = answers(records, sinks, lvlm, evaluate, work)
    assert same == refused
    results, _ = summarize(predictions, refused, sinks, lvlm, evaluate, 0)
    assert results["refused"] == refused
    with pytest.raises(ValueError, match="goes by its own tau"):
        measure_lvlm_sinks(
            records, lvlm_at(tmp_path / "model", tau=3.0), evaluate, "cpu", str(work)
        )


def test_a_bug_in_a_change_stops_the_run(
    records: Path,
    answered: tuple[Any, ...],
    planted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(self: Any, tokens: Any) -> Any:
        raise ValueError("a bug")

    monkeypatch.setattr(Reposition, "__call__", broken)
    with pytest.raises(ValueError, match="a bug"):
        answers(records, answered[0], lvlm_at(planted), small(), tmp_path)


def own(parts: Path, folder: Path) -> Path:
    """A DIYSink model with some sinks."""
    from diysink.sinks import token_norms

    made = assemble_tiny(parts, connector="single", arrangement="natural")
    pixels = made.image_processor([lvlms.picture(number).open() for number in range(6)])
    with torch.no_grad():
        norms = token_norms(made.model.model.visual_states(pixels))
    made.model.config.tau = float(norms.quantile(0.8))
    made.save(folder)
    return folder


def test_results_compare_with_stock_and_with_the_controls_that_are_named(
    answered: tuple[Any, ...], planted: Path
) -> None:
    sinks, predictions, _, _ = answered
    results, metrics = summarize(predictions, {}, sinks, lvlm_at(planted), small(), 0)
    pairs = {(row["variant"], row["baseline"]) for row in results["comparisons"]}
    assert pairs == {
        ("again", "stock"),
        ("front", "stock"),
        ("front-random-matched", "stock"),
        ("front", "front-random-matched"),
    }
    assert set(predictions["model"]) == {"lvlm"}
    assert not any(row["separate"] for row in results["comparisons"])
    share = predictions[predictions["variant"] == "front"]["correct"].mean()
    assert metrics["front"]["all"] == pytest.approx(share)
    assert metrics["lvlm"]["tau"] == results["sinks"]["tau"]
    assert {row["group"] for row in results["accuracy"]} == {"all", "global", "local"}
    assert results["sinks"]["not_looked_at"] == ["position", "content", "attention"]
    assert results["routes"] == []
    assert json.dumps(results)
    assert "training seed" not in " ".join(results["verdict"])


def test_the_metric_is_a_parameter_of_the_benchmark(
    records: Path, answered: tuple[Any, ...], planted: Path, tmp_path: Path
) -> None:
    sinks, predictions, *_ = answered
    stock = dict.fromkeys(("stock", "front", "front-random-matched"), FEW["stock"])
    benchmarks = {"test": {"metric": "contains"}, "short": {}}
    evaluate = small(stock, benchmarks=benchmarks)
    table, _ = answers(records, sinks, lvlm_at(planted), evaluate, tmp_path)
    table = table[table["variant"] == "stock"]
    assert list(table["benchmark"].unique()) == ["test", "short"]
    assert set(table[table["benchmark"] == "short"]["metric"]) == {"exact"}
    assert table[table["benchmark"] == "short"]["question"].str.endswith("phrase.").all()
    table = table[table["benchmark"] == "test"]
    words = [a in b.split() for a, b in zip(table["reference"], table["prediction"], strict=True)]
    assert list(table["correct"]) == words
    before = predictions[predictions["variant"] == "stock"]
    assert list(table["prediction"]) == list(before["prediction"])
    assert table["correct"].sum() > before["correct"].sum()


@pytest.mark.parametrize("env", ["checkpoint", "llava-1.5-7b", "tinyllava-0.5b"])
def test_large_models_are_scored_by_what_their_sentences_contain(env: str) -> None:
    assert [row.metric for row in settings_of(env)["evaluate"].rows()] == ["contains"]


def test_where_no_variant_is_of_an_lvlm_none_is_loaded(records: Path, tmp_path: Path) -> None:
    evaluate = settings_of("base")["evaluate"]
    folder = measure_lvlm_sinks(
        records, settings_of("base")["lvlm"], evaluate, "cpu", str(tmp_path)
    )
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)
def test_each_model_is_loaded_once_and_the_table_keeps_its_order(
    records: Path, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diysink.model

    for kind in ("single", "other"):
        for seed in (0, 1):
            own(parts, tmp_path / "models" / kind / f"seed{seed}")
    for folder in ("models", "selectors"):
        (tmp_path / folder).mkdir(exist_ok=True)
        write_manifest(tmp_path / folder, kind=folder)
    variants: dict[str, Any] = {
        "a": {"connector": "single"},
        "b": {"connector": "other", "selection": "sink"},
        "a-sinks": {"connector": "single", "arrangement": "front", "selection": "sink"},
        "a-random": {"connector": "single", "selection": "sink", "control": "random-matched"},
        "a-again": {"connector": "single"},
    }
    chosen = {"baseline": "a", "candidate": "b", "variants": variants}
    few = {"max_new_tokens": 2, "batch": 16, "variants": chosen}
    evaluate = Evaluate.model_validate(parameters("base")["evaluate"] | few)
    loads = []
    load = diysink.model.load
    monkeypatch.setattr(diysink.model, "load", lambda *a, **k: loads.append(a) or load(*a, **k))
    simple = pd.DataFrame({"image": [lvlms.picture(0).sha256], "simple": [True]})
    late = pd.DataFrame({"connector": ["other"], "seed": [1], "converged": [False]})
    folders = (tmp_path / "models", tmp_path / "selectors", tmp_path, simple, late)
    table, refused = predict_answers(
        records,
        *folders,
        MODEL.model_copy(update={"sentence": str(parts / "encoder")}),
        settings_of("base")["lvlm"],
        evaluate,
        [0, 1],
        0,
        str(tmp_path / "work"),
        "cpu",
    )
    assert len(loads) == 4
    assert refused == {}
    order = list(dict.fromkeys(zip(table["variant"], table["seed"], strict=True)))
    assert order == [(name, seed) for seed in (0, 1) for name in variants]
    of = {name: rows.reset_index(drop=True) for name, rows in table.groupby("variant")}
    assert of["a"]["prediction"].equals(of["a-again"]["prediction"])
    assert of["a-sinks"]["visual_tokens"].equals(of["a-random"]["visual_tokens"])
    assert (of["a"]["visual_tokens"] == 9).all()
    known = table[table["simple"].notna()]
    assert set(known["image"]) == set(simple["image"])
    assert set(known["simple"]) == {True}
    assert table["log_likelihood"].lt(0).all()
    late = table[~table["converged"]]
    assert set(zip(late["model"], late["seed"], strict=True)) == {("other", 1)}


CHANGES: dict[str, tuple[dict[str, Any], Any]] = {
    "none": ({}, None),
    "reposition": ({"where": "front", "positions": "carry"}, Reposition("front", "carry")),
    "keep": ({"which": "sink"}, Keep("sink")),
    "drop": ({"which": "sink", "positions": "carry"}, Drop("sink", "carry")),
    "replace": ({"which": "sink", "by": "shuffle"}, Replace("sink", "shuffle", 7)),
    "scale": ({"which": "sink", "factor": 0.5}, Scale("sink", 0.5)),
    "var": ({"share": 0.4}, VAR(share=0.4)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_by_name(name: str) -> None:
    options, change = CHANGES[name]
    assert change_of(name, options, seed=7) == change
    if name not in ("none", "var"):
        random = change_of(name, options, seed=7, random_matched=True)
        assert random == RandomMatched(change, 7)


def test_the_calibration_is_the_library_s_own() -> None:
    """What the file says is what the code does without it."""
    assert settings_of("base")["lvlm"].calibration == CalibrationSettings()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Kedro, MLflow as they are imported
def test_one_command_for_a_users_model(records: Path, planted: Path, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    shutil.copytree(records, project / "data/03_primary/records")
    kedro_run(
        project,
        "evaluate",
        lvlm={"path": str(planted), "dtype": "float32"},
        evaluate={"variants": "training-free", "max_new_tokens": 2, "batch": 24, "resamples": 50},
    )
    results = json.loads((project / "data/08_reporting/results.json").read_text())
    variants = settings_of("training-free")["variant_sets"]["training-free"].chosen
    assert {row["variant"] for row in results["accuracy"]} == set(variants)
    assert results["refused"] == {}
    assert results["sinks"]["verdict"] == "found by norms alone"
    predictions = pd.read_parquet(project / "data/07_model_output/predictions.parquet")
    assert len(predictions) == len(variants) * 48
    seen = predictions.groupby("variant")["visual_tokens"].mean()
    assert seen["stock"] == seen["front"] == 16
    assert seen["sinks-only"] == seen["sinks-only-random-matched"] < seen["nonsinks-only"] < 16
    assert tracked(project)["lvlm.tau"] == pytest.approx(results["sinks"]["tau"])
    assert not list((project / "data/.work").glob("evaluate/*"))


def tracked(project: Path) -> dict[str, float]:
    """Metrics of the project's only MLflow run."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("diysink")
    (run,) = client.search_runs([experiment.experiment_id])
    return dict(run.data.metrics)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_miniatures_own_model_answers_as_an_lvlm_what_it_answers_as_fine_tuned(
    whole: Path, tmp_path: Path
) -> None:
    project = make_project(tmp_path / "project")
    shutil.copytree(whole / "data/03_primary/records", project / "data/03_primary/records")
    evaluated = parameters("test")["evaluate"]
    variants: dict[str, Any] = {
        "stock": {"change": "none"},
        "front": FRONT,
        "end": {"change": "reposition", "options": {"where": "end"}},
    }
    kedro_run(
        project,
        "evaluate",
        lvlm={"path": str(whole / "data/06_models/finetune/single/seed0"), "dtype": "float32"},
        evaluate={
            "batch": evaluated["batch"],
            "max_new_tokens": evaluated["max_new_tokens"],
            "resamples": 50,
            "variants": {"baseline": "stock", "candidate": "front", "variants": variants},
        },
    )
    mine, theirs = (
        pd.read_parquet(path / "data/07_model_output/predictions.parquet").set_index(
            ["variant", "id"]
        )
        for path in (project, whole)
    )
    models = theirs.groupby("variant")["model"].unique()
    assert (set(models["single-front"]), set(models["dual-sinks"])) == ({"single"}, {"dual"})
    for here, there in (("stock", "single"), ("front", "single-front"), ("end", "single-end")):
        for column in ("prediction", "correct", "visual_tokens", "question", "reference"):
            assert mine.loc[here, column].equals(theirs.loc[there, column]), (here, column)
