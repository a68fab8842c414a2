"""The stage on a tiny model with a planted optimum: what it finds, tracks, refuses and writes."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import torch

from diysink.artifact import write_manifest
from diysink.records import Records, Turn, write_shards
from diysink.selection import FixedSelection, QuestionBatch, WeightedSelection
from diysink.sinks import token_norms
from pipelines import settings as kedro_settings
from pipelines.evaluate.models import FineTuned
from pipelines.evaluate.settings import Evaluate, Variant
from pipelines.parameters import build
from pipelines.presets import PresetLoader
from pipelines.problems import ParameterError
from pipelines.register.nodes import assemble_candidate
from pipelines.tune.nodes import check_apart, search_settings, write_preset
from pipelines.tune.preset import HEADER, is_ours
from pipelines.tune.setting import Setting
from pipelines.tune.settings import Tune
from pipelines.tune.trials import halve
from tests.interventions.tiny_parts import spread
from tests.pipelines.project import ROOT, kedro_run
from tests.pipelines.test_conf import parameters
from tests.tiny_models import assemble_tiny

BASE = build(parameters("base"), [])
PLANTED = Variant(connector="dual", weights={"sink": 1.0, "nonsink": 0.0})
STUDY = {
    "variant": "dual",
    "trials": 6,
    "space": {"weights.nonsink": {"type": "categorical", "choices": [0.0, 0.5, 1.0, 2.0]}},
}
TAU = {"type": "float", "low": 0.5, "high": 2.0, "log": True}
REW = {
    "variant": "dual-reweight",
    "trials": 2,
    "space": {
        "tau": TAU,
        "selector.epochs": {"type": "int", "low": 1, "high": 2},
        "selector.options.hidden": {"type": "categorical", "choices": [4, 8]},
    },
}


def tune(root: Path, **changes: Any) -> Tune:
    own = {
        "storage": f"sqlite:///{root / 'tune.db'}",
        "conf": str(root / "conf"),
        "studies": {"weights": STUDY},
    }
    return Tune.model_validate(parameters("base")["tune"] | own | changes)


EVALUATE = Evaluate.model_validate(
    parameters("base")["evaluate"]
    | {"max_new_tokens": 3, "batch": 16, "resamples": 200}
    | {"variants": BASE["evaluate"].variants.model_dump(mode="json")}
)
QUIET = asdict(BASE["reweight"].trainer) | {"enable_progress_bar": False}
REWEIGHT = type(BASE["reweight"]).model_validate(
    BASE["reweight"].plain() | {"batch_size": 8, "trainer": QUIET}
)


@pytest.fixture(scope="module")
def run(
    parts: Path,
    tiny_records: Records,
    tiny_sentence: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """Inputs of the stage; the right answers are those that the model gives without nonsinks."""
    if "llama" not in parts.name:
        pytest.skip("the search does not depend on the pair")
    root = tmp_path_factory.mktemp("tune")
    made = assemble_tiny(parts, connector="dual")
    spread(made.model.model.language_model)
    with torch.no_grad():
        pixels = made.image_processor([record.images[0].open() for record in tiny_records])
        norms = token_norms(made.model.model.visual_states(pixels))
    made.model.config.tau = float(norms.quantile(0.6))
    made.save(root / "models/dual/seed0")
    write_manifest(root / "models", kind="models")
    model = BASE["model"].model_copy(update={"sentence": str(tiny_sentence)})
    given = FineTuned(root / "models", None, model.sentence, EVALUATE, 0, {}, "cpu")
    asked = [replace(record, conversations=record.conversations[:2]) for record in tiny_records]
    said = given.model(PLANTED, 0).answer(asked).texts
    answered = [
        replace(record, conversations=(record.conversations[0], Turn("gpt", text or "a")))
        for record, text in zip(asked, said, strict=True)
    ]
    write_shards(root / "records/validation", answered[:12])
    for split in ("test", "reweight"):
        write_shards(root / "records" / split, answered[12:] * (1 + (split == "reweight")))
    write_manifest(root / "records", kind="records")
    return {
        "records": root / "records",
        "finetuned_models": root / "models",
        "model": model,
        "evaluate": EVALUATE,
        "reweight": REWEIGHT,
        "seeds": [0],
        "seed": 0,
        "device": "cpu",
        "workspace": str(root / "work"),
        "root": root,
    }


def searched(run: dict[str, Any], **changes: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    given = {name: value for name, value in run.items() if name != "root"}
    return search_settings(**given, tune=tune(run["root"], **changes))


def test_a_planted_weight_is_found_and_trials_are_not_run_again(
    run: dict[str, Any], tracking: Path
) -> None:
    client = mlflow.MlflowClient()
    children = []
    for _ in range(2):
        with mlflow.start_run() as parent:
            trials, results = searched(run)
        where = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
        children.append(client.search_runs([parent.info.experiment_id], where))
    found = results["studies"]["weights"]
    assert found["best"]["values"] == {"weights.nonsink": 0.0}
    assert found["search"]["best"] == found["confirm"]["best"] == 1.0
    assert found["search"]["default"] < 0.9
    assert found["search"]["images"] == found["confirm"]["images"] == 6
    assert found["search"]["low"] > 0
    assert trials["setting"][0] == "1.0" == trials["default"][0]  # the default is first
    assert len(trials) == found["trials"] == 6
    first, again = children
    assert (len(first), len(again)) == (6, 0)
    assert {one.info.status for one in first} == {"FINISHED"}
    logged = {
        (one.data.params["weights.nonsink"], one.data.metrics["search_accuracy"]) for one in first
    }
    assert logged == set(zip(trials["setting"], trials["value"], strict=True))


@pytest.mark.slow
def test_two_workers_try_what_one_does(run: dict[str, Any]) -> None:
    values = []
    for workers in (0, 2):
        storage = f"sqlite:///{run['root'] / f'workers-{workers}.db'}"
        study = STUDY | {"trials": 4, "space": {"weights.sink": TAU | {"low": 0.1}}}
        how = {"studies": {"s": study}, "sampler": "random", "confirm": 0.0, "storage": storage}
        trials, results = searched(run, workers=workers, **how)
        values.append(trials.sort_values("number")[["number", "value"]].to_numpy().tolist())
        assert results["studies"]["s"]["confirm"] is None
    assert values[0] == values[1]


@pytest.fixture(scope="module")
def preset(run: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The text of a preset, and what it was made of."""
    _, results = searched(run, studies={"weights": STUDY, "rew": REW})
    conf = run["root"] / "conf"
    shutil.copytree(ROOT / "conf/base", conf / "base")
    shutil.copytree(ROOT / "conf/five-seeds", conf / "five-seeds")
    return write_preset(results, EVALUATE, tune(run["root"], preset="found"), "five-seeds"), results


def loaded(conf: Path, env: str) -> dict[str, Any]:
    arguments = {**kedro_settings.CONFIG_LOADER_ARGS, "default_run_env": env}
    return PresetLoader(conf_source=str(conf), env=env, **arguments)["parameters"]


def test_a_run_with_the_preset_uses_what_was_found(
    run: dict[str, Any], preset: tuple[str, dict[str, Any]]
) -> None:
    text, results = preset
    conf = run["root"] / "conf"
    assert (conf / "found/parameters.yml").read_text() == text
    used = build(loaded(conf, "found"), ["reweight", "evaluate", "register"])
    assert used["seeds"] == BASE["seeds"] + (1, 2, 3, 4)  # of the preset that it extends
    variants = used["evaluate"].variants
    assert variants.chosen["tuned-weights"] == PLANTED
    assert ("tuned-weights", "dual") in variants.compare
    best = results["studies"]["rew"]["best"]["values"]
    chosen, selector = variants.chosen["tuned-rew"], used["reweight"].selectors["tuned-rew"]
    assert (chosen.selection, chosen.tau) == ("tuned-rew", best["tau"])
    assert (selector.tau, selector.epochs) == (best["tau"], best["selector.epochs"])
    assert selector.learning_rate == REWEIGHT.learning_rate
    assert selector.settings.hidden == best["selector.options.hidden"]
    assert used["reweight"].of("tuned-rew").epochs == best["selector.epochs"]
    assert used["reweight"].of("reweight").epochs == REWEIGHT.epochs
    assert variants.chosen.keys() - EVALUATE.variants.chosen.keys() == {
        "tuned-weights",
        "tuned-rew",
    }


def test_only_a_folder_that_tune_wrote_is_written_again(
    run: dict[str, Any], preset: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    conf = run["root"] / "conf"
    assert is_ours(conf / "found")
    assert is_ours(conf / "nowhere")
    assert not is_ours(conf / "five-seeds")
    assert not is_ours(conf / "base")
    both = shutil.copytree(conf / "found", tmp_path / "both")
    (both / "catalog.yml").write_text("a: {}")
    assert not is_ours(both)
    with pytest.raises(FileExistsError):
        write_preset(preset[1], EVALUATE, tune(run["root"], preset="five-seeds"), "base")
    assert HEADER not in (conf / "five-seeds/parameters.yml").read_text()


def test_tau_and_weights_change_what_is_seen(run: dict[str, Any]) -> None:
    models = FineTuned(run["finetuned_models"], None, "language-model", EVALUATE, 0, {}, "cpu")
    records = list(Records(run["records"] / "test"))

    def asked(**how: Any) -> Any:
        return models.model(Variant(connector="dual", **how), 0).answer(records)

    seen = [sum(asked(selection="sink", tau=tau).visual_tokens) for tau in (1.0, 0.01, 1.0)]
    assert seen[0] == seen[2] < seen[1] == 4 * 9
    assert seen[0] == sum(asked(selection="sink").visual_tokens)
    assert asked(weights={"sink": 0.5}).weights == [[0.5, 1.0]] * 4
    batch = QuestionBatch(("a",), ("a",), (None,), ("x",))
    twice = WeightedSelection(WeightedSelection(FixedSelection("both"), 2.0, 3.0), 5.0, 0.5)
    assert twice(batch).weights.tolist() == [[10.0, 1.5]]


def test_a_candidate_is_packaged_with_its_tau(run: dict[str, Any], tmp_path: Path) -> None:
    variants = {"dual": {"connector": "dual"}, "tuned": {"connector": "dual", "tau": 0.5}}
    chosen = {"baseline": "dual", "candidate": "tuned", "variants": variants}
    evaluate = Evaluate.model_validate(parameters("base")["evaluate"] | {"variants": chosen})
    (tmp_path / "none").mkdir()
    write_manifest(tmp_path / "none", kind="reweighting")
    made = assemble_candidate(
        run["finetuned_models"],
        tmp_path / "none",
        evaluate,
        run["model"],
        BASE["register"],
        str(tmp_path / "work"),
    )
    files = made / "config.json", run["finetuned_models"] / "dual/seed0/config.json"
    tau, before = (json.loads(file.read_text())["tau"] for file in files)
    assert tau == 0.5 * before


def test_halves_share_no_image_and_hold_all_questions(tiny_records: Records) -> None:
    items = [record for record in tiny_records for _ in range(2)]
    halves = halve(items, 0.25, 0)
    images = [{items[i].images[0].sha256 for i in part} for part in (halves.search, halves.confirm)]
    assert [len(part) for part in images] == [12, 4]
    assert not images[0] & images[1]
    assert sorted(halves.search + halves.confirm) == list(range(32))
    assert halve(items, 0.25, 1) != halves
    assert halve(items, 0, 0).confirm == ()
    with pytest.raises(ValueError, match=r"2 images.*tune.confirm"):
        halve(items[:4], 0.1, 0)


def test_images_that_are_tested_on_are_refused(tiny_records: Records) -> None:
    records = list(tiny_records)
    check_apart(records[:8], {"test": records[8:]})
    with pytest.raises(ValueError, match=r"1 of 8 images.*'test'"):
        check_apart(records[:8], {"other": records[8:], "test": records[7:]})


def test_a_path_is_read_as_it_is_written() -> None:
    setting = Setting.of(BASE["evaluate"].variants.chosen["dual-reweight"], BASE["reweight"])
    values = {"tau": 1.5, "weights.sink": 0.5, "selector.options.hidden": 8, "selector.epochs": 3}
    changed = setting.with_values(values)
    assert {path: changed.value(path) for path in values} == values
    default = {path: setting.value(path) for path in values}
    assert default == {**dict.fromkeys(values, 1.0), "selector.options.hidden": 64} | {
        "selector.epochs": 10
    }
    assert changed.selector is not None
    assert changed.selector.tau == 1.5
    assert json.dumps(changed.plain())


@pytest.mark.parametrize(
    ("where", "change", "stages"),
    [
        ("tune.validation.split", {"validation": {"split": "test"}}, ["tune"]),
        ("tune.validation.split", {"validation": {"split": "reweight"}}, ["tune"]),
        ("tune.validation.split", {"validation": {"split": "train"}}, ["tune"]),
        ("tune.validation.split", {"validation": {"split": "none"}}, ["prepare", "tune"]),
        ("tune.studies.s.variant", {"studies": {"s": STUDY | {"variant": "duel"}}}, ["tune"]),
        (
            "tune.studies.s.space.weights.sink",
            {
                "studies": {
                    "s": STUDY | {"space": {"weights.sink": TAU | {"low": -1.0, "log": False}}}
                }
            },
            ["tune"],
        ),
        (
            "tune.studies.s.space.selector.options.hiden",
            {"studies": {"s": REW | {"space": {"selector.options.hiden": TAU}}}},
            ["tune"],
        ),
        (
            "tune.studies.s.space.selector.epochs",
            {"studies": {"s": STUDY | {"space": {"selector.epochs": TAU}}}},
            ["tune"],
        ),
        (
            "tune.studies.s.space.selection",
            {"studies": {"s": STUDY | {"space": {"selection": TAU}}}},
            [],
        ),
        (
            "tune.studies.s.space.tau",
            {"studies": {"s": STUDY | {"space": {"tau": TAU | {"low": 3.0}}}}},
            [],
        ),
        ("tune.preset", {"preset": "five-seeds"}, ["tune"]),
        ("tune.preset", {"preset": "base"}, []),
        ("tune.storage", {"storage": "/data/tune.db"}, []),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_runs(
    where: str, change: dict[str, Any], stages: list[str]
) -> None:
    given = parameters("base")
    given["tune"] |= {"conf": str(ROOT / "conf")} | change
    with pytest.raises(ParameterError) as error:
        build(given, stages)
    assert where in {problem.where for problem in error.value.problems}


def test_a_selector_is_not_searched_on_another_connector_than_it_is_trained_on() -> None:
    given = parameters("base")
    given["tune"]["studies"] = {"s": REW}
    build(given, ["tune"])
    given["reweight"]["connector"] = "single"
    with pytest.raises(ParameterError) as error:
        build(given, ["tune"])
    assert [problem.where for problem in error.value.problems] == ["tune.studies.s.variant"]


def test_a_variant_without_tau_and_weights_is_told_as_before_there_were_any() -> None:
    """Answers are kept under a digest of it."""
    plain = {"connector": "dual", "arrangement": None, "selection": "both", "change": None}
    plain |= {"options": {}, "control": "none"}
    assert Variant(connector="dual").plain() == plain
    assert Variant(connector="dual", tau=2.0).plain() == plain | {"tau": 2.0}


def test_a_split_of_the_files_that_are_tested_on_is_refused() -> None:
    given = parameters("base")
    given["prepare"]["splits"] = {
        name: {"images": "images", "records": file}
        for name, file in {"validation": "all.json", "test": "all.json", "train": "a.json"}.items()
    }
    with pytest.raises(ParameterError) as error:
        build(given, ["tune"])
    assert [problem.where for problem in error.value.problems] == ["tune.validation.split"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Kedro, MLflow as they are imported
def test_one_command_searches_and_another_uses_what_was_found(whole: Path, tmp_path: Path) -> None:
    project = shutil.copytree(whole, tmp_path / "project")
    kedro_run(project, "tune", tune={"preset": "found"})
    found = json.loads((project / "data/08_reporting/tuning/results.json").read_text())
    assert found["studies"].keys() == {"tau", "together"}
    assert found["studies"]["together"]["confirm"]["images"] == 9
    assert "extends: test" in (project / "conf/found/parameters.yml").read_text()
    assert not list((project / "data/.work").glob("tune/*"))
    kedro_run(project, "reweight", "report", env="found")
    assert (project / "data/06_models/reweight/tuned-together/seed0/reweight.json").is_file()
    assert 'id="search"' in (project / "data/08_reporting/report.html").read_text()
    assert 'id="search"' not in (whole / "data/08_reporting/report.html").read_text()
