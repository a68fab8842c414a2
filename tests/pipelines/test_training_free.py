"""The training-free table: any model by its folder, as `kedro run` makes it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from diysink.interventions import VAR, Drop, Keep, RandomMatched, Replace, Reposition, Scale
from diysink.sinks import CalibrationSettings, Credibility, SinkProfile
from pipelines.training_free.nodes import answer_variants, calibrate_sinks, summarize_variants
from pipelines.training_free.sinks import NoThresholdError
from pipelines.training_free.variants import changes_of
from tests.evaluation import lvlms
from tests.pipelines.project import kedro_run, make_project
from tests.pipelines.test_conf import PRESETS, parameters

FEW = {
    "stock": {"change": "none"},
    "again": {"change": "none"},
    "front": {"change": "reposition", "where": "front"},
    "front-matched": {"change": "reposition", "where": "front", "random_matched": True},
}


def small(**changes: Any) -> dict[str, Any]:
    """The stage's parameters, for two dozen tiny pictures."""
    base: dict[str, Any] = parameters("base")["training_free"]
    few = {"max_new_tokens": 3, "batch": 16, "resamples": 50, "variants": FEW}
    return base | few | {"bootstrap": {"replicates": 50, "seed": 0}} | changes


def model_at(path: Path, **changes: Any) -> dict[str, Any]:
    return {"path": str(path), "revision": None, "dtype": "float32", "tau": None} | changes


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
    common = (model_at(planted), small(), 0, "cpu", str(work))
    sinks = calibrate_sinks(records, *common)
    return sinks, *answer_variants(records, sinks, *common), work


def test_planted_sinks_are_calibrated_and_the_profile_says_what_it_did_not_look_at(
    answered: tuple[Any, ...], capsys: pytest.CaptureFixture[str], records: Path, planted: Path
) -> None:
    sinks, *_, work = answered
    profile = SinkProfile.load(sinks / "profile.json")
    assert 6 < profile.tau < 45  # ordinary tokens are below 5, planted ones at 50
    assert profile.images == lvlms.PICTURES
    assert profile.verdict == "found by norms alone"
    calibrate_sinks(records, model_at(planted), small(), 0, "cpu", str(work))  # again: from there
    said = " ".join(capsys.readouterr().out.split())
    assert "Sinks: found by norms alone. tau" in said
    assert "not looked at is whether these tokens sit at fixed places" in said


def test_stock_twice_is_the_same_and_front_is_another(answered: tuple[Any, ...]) -> None:
    _, predictions, refused, _ = answered
    assert refused == {}
    said = {name: list(rows["prediction"]) for name, rows in predictions.groupby("variant")}
    assert list(dict.fromkeys(predictions["variant"])) == list(FEW)
    assert said["stock"] == said["again"]
    assert said["front"] != said["stock"]
    assert said["front-matched"] != said["front"]
    assert (predictions["seed"] == 0).all()


def test_killed_and_run_again_nothing_is_answered_twice(
    answered: tuple[Any, ...], records: Path, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sinks, predictions, _, work = answered
    arguments = (records, sinks, model_at(planted), small(), 0, "cpu", str(work))
    monkeypatch.setattr("pipelines.training_free.nodes.loaded", None)
    pd.testing.assert_frame_equal(answer_variants(*arguments)[0], predictions)
    with pytest.raises(TypeError):  # other parameters are other work
        answer_variants(*arguments[:3], small(metric="contains"), 0, "cpu", str(work))


def test_the_plain_model_has_no_threshold_and_says_what_was_seen(
    records: Path, plain: Path, tmp_path: Path
) -> None:
    arguments = (small(), 0, "cpu", str(tmp_path))
    with pytest.raises(NoThresholdError) as stopped:
        calibrate_sinks(records, model_at(plain), *arguments)
    said = str(stopped.value)
    assert "The 384 visual tokens of 24 pictures have norms of about 3." in said
    assert "No gap has a few of them above it (at most 20%)" in said
    assert "No second population" in said
    assert "lvlm.tau=100" in said


def test_a_tau_that_is_given_is_taken_and_weighed(
    records: Path, plain: Path, tmp_path: Path
) -> None:
    sinks = calibrate_sinks(records, model_at(plain, tau=4.2), small(), 0, "cpu", str(tmp_path))
    profile = SinkProfile.load(sinks / "profile.json")
    assert (profile.method, profile.interval) == ("fixed", None)
    assert profile.tau == pytest.approx(4.2)
    assert profile.mean_sinks > 0
    assert not profile.found  # the tail of one population


def test_pictures_for_calibration_are_different_ones_from_the_whole_split(
    records: Path, planted: Path, tmp_path: Path
) -> None:
    sinks = calibrate_sinks(
        records, model_at(planted, tau=20.0), small(images=6), 0, "cpu", str(tmp_path)
    )
    assert SinkProfile.load(sinks / "profile.json").images == 6


def test_what_a_model_cannot_do_is_refused_by_name_and_the_rest_goes_on(
    records: Path, parts: Path, tmp_path: Path
) -> None:
    """A DIYSink model numbers its tokens itself: nothing can be carried."""
    folder = own(parts, tmp_path / "model")
    variants = FEW | {
        "front-carry": {"change": "reposition", "where": "front", "positions": "carry"},
        "var": {"change": "var"},
    }
    settings = small(variants=variants)
    common = (settings, 0, "cpu", str(tmp_path / "work"))
    sinks = calibrate_sinks(records, model_at(folder), *common)
    predictions, refused = answer_variants(records, sinks, model_at(folder), *common)
    assert list(predictions["variant"].unique()) == list(FEW)
    assert "positions='reindex'" in refused["front-carry"]
    assert "VAR" in refused["var"]
    _, same = answer_variants(records, sinks, model_at(folder), *common)
    assert same == refused
    results, *_ = summarize_variants(predictions, refused, sinks, model_at(folder), settings, 0)
    assert results["refused"] == refused
    assert any(line.startswith("var was refused: ") for line in results["verdict"])
    with pytest.raises(ValueError, match="goes by its own tau"):
        calibrate_sinks(records, model_at(folder, tau=3.0), *common)


def own(parts: Path, folder: Path) -> Path:
    """A DIYSink model with some sinks."""
    from diysink.model import Parts, assemble
    from diysink.sinks import token_norms

    made = assemble(
        Parts(encoder=str(parts / "encoder"), language=str(parts / "language")),
        None,
        connector="single",
        arrangement="natural",
    )
    pixels = made.image_processor([lvlms.picture(number).open() for number in range(6)])
    with torch.no_grad():
        norms = token_norms(made.model.model.visual_states(pixels))
    made.model.config.tau = float(norms.quantile(0.8))
    made.save(folder)
    return folder


@pytest.mark.parametrize("candidate", ["front", "elsewhere"])
def test_the_table_holds_the_variants_against_stock_and_controls(
    answered: tuple[Any, ...], planted: Path, capsys: pytest.CaptureFixture[str], candidate: str
) -> None:
    sinks, predictions, _, _ = answered
    settings = small(candidate=candidate)
    results, accuracy, metrics = summarize_variants(
        predictions, {}, sinks, model_at(planted), settings, 0
    )
    pairs = {(row["variant"], row["baseline"]) for row in results["comparisons"]}
    assert pairs == {
        ("again", "stock"),
        ("front", "stock"),
        ("front-matched", "stock"),
        ("front", "front-matched"),
    }
    share = predictions[predictions["variant"] == "front"]["correct"].mean()
    assert metrics["training_free"]["accuracy"]["front"]["all"] == pytest.approx(share)
    assert set(accuracy["group"]) == {"all", "global", "local"}
    assert results["sinks"]["not_looked_at"] == ["position", "content", "attention"]
    assert json.dumps(results)
    text = " ".join(results["verdict"])
    assert ("front" in text and "stock" in text) if candidate == "front" else "no answer" in text
    assert "training seed" not in text
    printed = " ".join(capsys.readouterr().out.split())
    assert "Accuracy on the test items" in printed
    assert "and there nothing changes" in printed


def test_answers_may_be_read_generously(
    records: Path, answered: tuple[Any, ...], planted: Path, tmp_path: Path
) -> None:
    sinks, predictions, *_ = answered
    settings = small(metric="contains", variants={"stock": {"change": "none"}})
    table, _ = answer_variants(records, sinks, model_at(planted), settings, 0, "cpu", str(tmp_path))
    words = [a in b.split() for a, b in zip(table["reference"], table["prediction"], strict=True)]
    assert list(table["correct"]) == words
    stock = predictions[predictions["variant"] == "stock"]
    assert list(table["prediction"]) == list(stock["prediction"])
    assert table["correct"].sum() > stock["correct"].sum()


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ({"path": None}, {}, "lvlm.path is not given"),
        ({"dtype": "int8"}, {}, "lvlm.dtype is 'int8'"),
        ({}, {"split": "validation"}, "split is 'validation', but the records have test"),
        ({}, {"images": 0}, "no picture"),
        ({}, {"variants": {"stock": None}}, "names no variant"),
        ({}, {"variants": {"x": {"change": "move"}}}, "variants.x is"),
    ],
)
def test_wrong_parameters_say_so(
    model: dict[str, Any],
    settings: dict[str, Any],
    message: str,
    records: Path,
    plain: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=message):
        calibrate_sinks(
            records, model_at(plain) | model, small(**settings), 0, "cpu", str(tmp_path)
        )


def test_a_metric_that_there_is_not(
    records: Path, answered: tuple[Any, ...], planted: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="expected exact or contains"):
        answer_variants(
            records, answered[0], model_at(planted), small(metric="f1"), 0, "cpu", str(tmp_path)
        )


def test_variants_as_data() -> None:
    described = {
        "stock": {"change": "none"},
        "front": {"change": "reposition", "where": "front", "positions": "carry"},
        "end-matched": {"change": "reposition", "where": "end", "random_matched": True},
        "left-out": None,
        "only": {"change": "keep", "which": "sink"},
        "without": {"change": "drop", "which": "sink", "positions": "carry"},
        "shuffled": {"change": "replace", "which": "sink", "by": "shuffle"},
        "faint": {"change": "scale", "which": "sink", "factor": 0.5},
        "var": {"change": "var", "share": 0.4},
    }
    assert changes_of(described, 7) == {
        "stock": None,
        "front": Reposition("front", "carry"),
        "end-matched": RandomMatched(Reposition("end"), 7),
        "only": Keep("sink"),
        "without": Drop("sink", "carry"),
        "shuffled": Replace("sink", "shuffle", 7),
        "faint": Scale("sink", 0.5),
        "var": VAR(share=0.4),
    }


@pytest.mark.parametrize(
    "described",
    [
        {},
        {"change": "none", "where": "front"},
        {"change": "none", "random_matched": True},
        {"change": "reposition"},
        {"change": "reposition", "where": "middle"},
        {"change": "reposition", "where": "front", "speed": 1},
        {"change": "reposition", "where": "front", "matched": "yes"},
        {"change": "var", "random_matched": True},
    ],
)
def test_variants_that_mean_nothing(described: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"training_free.variants.x is \{"):
        changes_of({"x": described}, 0)


@pytest.mark.parametrize("env", ["base", *PRESETS])
def test_the_parameters_mean_something(env: str) -> None:
    values = parameters(env)
    settings = values["training_free"]
    changes = changes_of(settings["variants"], values["seed"])
    assert changes[settings["baseline"]] is None
    named = {settings["candidate"], *(name for pair in settings["compare"] for name in pair)}
    assert named <= set(changes)
    calibration = settings["calibration"]
    credible = Credibility(**calibration["credible"])
    # what the file says is what the code does without it
    if env == "base":
        assert CalibrationSettings(**calibration | {"credible": credible}) == CalibrationSettings()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Kedro, MLflow as they are imported
def test_one_command_for_a_users_model(records: Path, planted: Path, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    shutil.copytree(records, project / "data/03_primary/records")
    kedro_run(
        project,
        "training_free",
        lvlm={"path": str(planted), "dtype": "float32"},
        training_free={"max_new_tokens": 2, "batch": 24, "resamples": 50},
    )
    results = json.loads((project / "data/08_reporting/training_free/results.json").read_text())
    variants = parameters("base")["training_free"]["variants"]
    assert {row["variant"] for row in results["accuracy"]} == set(variants)
    assert results["refused"] == {}
    assert results["sinks"]["verdict"] == "found by norms alone"
    seen = results["visual_tokens"]
    assert seen["stock"] == seen["front"] == 16
    assert seen["sinks-only"] == seen["sinks-only-matched"] < seen["nonsinks-only"] < 16
    predictions = pd.read_parquet(
        project / "data/07_model_output/training_free/predictions.parquet"
    )
    assert len(predictions) == len(variants) * 48
    metrics = json.loads((project / "data/08_reporting/training_free/metrics.json").read_text())
    assert metrics["training_free"]["tau"] == results["sinks"]["tau"]
    assert tracked(project)["training_free.tau"] == pytest.approx(results["sinks"]["tau"])
    assert not list((project / "data/.work").glob("training_free/*"))


def tracked(project: Path) -> dict[str, float]:
    """Metrics of the project's only MLflow run."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("diysink")
    (run,) = client.search_runs([experiment.experiment_id])
    return dict(run.data.metrics)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_miniatures_own_model_answers_as_in_its_evaluation(whole: Path, tmp_path: Path) -> None:
    """Asked through transformers' doors, `single` says what it said through ours; front too."""
    project = make_project(tmp_path / "project")
    shutil.copytree(whole / "data/03_primary/records", project / "data/03_primary/records")
    evaluated = parameters("test")["evaluate"]
    left_out = dict.fromkeys(parameters("base")["training_free"]["variants"])
    kedro_run(
        project,
        "training_free",
        lvlm={"path": str(whole / "data/06_models/finetune/single/seed0"), "dtype": "float32"},
        training_free={
            "batch": evaluated["batch"],
            "max_new_tokens": evaluated["max_new_tokens"],
            "resamples": 50,
            "variants": left_out
            | {
                "stock": {"change": "none"},
                "front": {"change": "reposition", "where": "front"},
                "end": {"change": "reposition", "where": "end"},
            },
        },
    )
    mine, theirs = (
        pd.read_parquet(path / "predictions.parquet").set_index(["variant", "id"])
        for path in (
            project / "data/07_model_output/training_free",
            whole / "data/07_model_output",
        )
    )
    for here, there in (("stock", "single"), ("front", "single-front"), ("end", "single-end")):
        for column in ("prediction", "correct", "visual_tokens", "question", "reference"):
            assert mine.loc[here, column].equals(theirs.loc[there, column]), (here, column)
