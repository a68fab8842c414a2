"""Dry runs of all presets, and of runs that are wrong in one place each."""

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from transformers import CLIPVisionConfig
from transformers.utils import is_torchvision_available

from diysink.artifact import write_json
from pipelines.dry_run.check import Check, DryRunError, show
from pipelines.dry_run.run import dry_run
from tests.pipelines.project import kedro_run, make_project
from tests.pipelines.test_conf import PRESETS, TRAINED, loaded, parameters, preset

FREE = ["internvl2.5-4b", "molmo2-8b", "gemma3-12b", "qwen2.5-vl-7b", "qwen3.5-9b"]
EVALUATE = ["prepare", "evaluate"]
DATA = {
    f"prepare.splits.{split}.{key}"
    for split in ("align", "train", "reweight", "test")
    for key in ("records", "images")
}


def checked(values: dict[str, Any], pipelines: list[str]) -> dict[str, Check]:
    """The checks of a dry run by name, whether or not something is wrong."""
    try:
        found = dry_run(values, pipelines, Console(file=io.StringIO(), width=80))
    except DryRunError as error:
        found = list(error.checks)
    return {check.what: check for check in found}


def stopping(checks: dict[str, Check]) -> set[str]:
    return {check.what for check in checks.values() if check.stops_a_run}


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the step, for what is found before it."""
    monkeypatch.setattr("pipelines.dry_run.step.step", lambda plan: ())


# --- Every preset ---------------------------------------------------------------------------


def test_every_preset_of_a_published_model_is_here():
    ours = {"test", "local", "five-seeds", "views", "dose", "control", "resamplers"}
    assert set(PRESETS) - ours == {*TRAINED, *FREE, "training-free", "checkpoint"}


@pytest.mark.parametrize("env", TRAINED)
def test_a_trained_preset_lacks_its_data_and_nothing_else(env: str):
    checks = checked(parameters(env), [])
    assert stopping(checks) == DATA
    stages = ("prepare", "sinks", "align", "finetune", "reweight", "evaluate")
    assert {checks[f"stage {name}"].result for name in stages} == {"ok"}
    assert checks["stage evaluate"].remark.startswith("19 variants")
    assert checks["model.encoder"].result == checks["model.language"].result == "not looked up"


@pytest.mark.parametrize("env", FREE)
def test_a_preset_without_training_lacks_its_data_and_nothing_else(env: str):
    checks = checked(parameters(env), EVALUATE)
    missing = {"prepare.splits.test.records", "prepare.splits.test.images"}
    assert stopping(checks) - {"processor"} == missing
    needs = "processor" in stopping(checks)
    assert needs == (env != "gemma3-12b" and not is_torchvision_available())
    assert checks["stage evaluate"].remark.startswith("10 variants")


def test_a_checkpoint_that_is_adopted_is_stepped_too(tmp_path: Path):
    from transformers import AutoConfig

    clip = CLIPVisionConfig(num_hidden_layers=6, image_size=336, patch_size=14).to_dict()
    AutoConfig.for_model("llava", vision_config=clip).save_pretrained(tmp_path)
    arguments = {"checkpoint": str(tmp_path)}
    from tests.docs.test_documented import parameters as given

    stages = ["prepare", "sinks", "adopt", "evaluate"]
    checks = checked(given("checkpoint", arguments), stages)
    assert {checks[f"stage {name}"].result for name in stages} == {"ok"}
    assert checks["adopt.path"].result == "wrong"  # a configuration without weights
    assert "safetensors" in checks["adopt.path"].remark


@pytest.mark.parametrize(
    ("env", "part", "millions"),
    [
        ("llava-1.5-7b", "language", 6738.4),  # Vicuna-7B, as its card says
        ("tinyllava-3.1b", "language", 2779.7),  # Phi-2
        ("tinyllava-0.5b", "language", 494.0),  # Qwen2-0.5B
        ("tinyllava-0.5b", "encoder", 428.2),  # SigLIP so400m's vision encoder
        ("qwen2.5-vl-7b", "lvlm", 8292.2),
        ("internvl2.5-4b", "lvlm", 3712.6),
    ],
)
def test_shapes_from_memory_have_the_published_numbers_of_parameters(env, part, millions):
    from transformers import AutoConfig

    from pipelines.dry_run.estimates import count_parameters

    config = AutoConfig.for_model(**parameters(env)["architecture"][part])
    assert count_parameters(config, part) / 1e6 == pytest.approx(millions, abs=0.05)


# --- What is wrong is found, and named ------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A small run whose data are all there."""
    quick(monkeypatch)
    values = copy.deepcopy(parameters("tinyllava-0.5b"))
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (32, 32), "red").save(images / "a.png")
    turns = [{"from": "human", "value": "<image>\nwhat?"}, {"from": "gpt", "value": "red"}]
    items = [{"id": str(n), "image": "a.png", "conversations": turns} for n in range(3)]
    write_json(tmp_path / "records.json", items)
    named = {"records": str(tmp_path / "records.json"), "images": str(images)}
    values["prepare"]["splits"] = {name: dict(named) for name in values["prepare"]["splits"]}
    return values


def test_a_run_that_has_all_it_needs_passes(small: dict[str, Any]):
    checks = dry_run(small, [], Console(file=io.StringIO()))
    splits = {c.what: c.remark for c in checks if c.what.startswith("prepare.splits.test")}
    assert splits["prepare.splits.test"] == "3 of the first 3 items are taken"
    [tokens] = [check for check in checks if check.what == "tokens of a dialogue"]
    assert tokens.remark.startswith("729 patches, 4 of text")  # 17 characters


def test_a_misspelt_key_is_named(small: dict[str, Any]):
    small["align"]["learning_rte"] = 1.0
    checks = checked(small, [])
    assert stopping(checks) == {"align.learning_rte"}
    assert "learning_rate" in checks["align.learning_rte"].remark


def asking(small: dict[str, Any], root: Path) -> dict[str, Any]:
    """The small run's benchmarks: one of three questions that is there, one that is not."""
    (root / "mine/images").mkdir(parents=True)
    (root / "images/a.png").rename(root / "mine/images/a.png")
    (root / "records.json").rename(root / "mine/test.json")
    chosen = dict.fromkeys(small["benchmarks"]["chosen"])
    chosen |= {"mine": {"like": "llava"}, "gqa": {}}
    small["benchmarks"] |= {"folder": str(root), "chosen": chosen}
    return small


def test_benchmarks_are_opened_and_answers_counted(small, tmp_path, monkeypatch):
    monkeypatch.setattr("diysink.evaluation.benchmarks.benchmark.hub_folder", lambda *a, **k: None)
    values = asking(small, tmp_path)
    checks = checked(values, ["benchmarks"])
    assert stopping(checks) == {"benchmarks.chosen.gqa"}
    assert "testdev_balanced_questions.json" in checks["benchmarks.chosen.gqa"].remark
    assert checks["benchmarks.chosen.mine"].remark == "3 questions"
    assert checks["answers of benchmarks"].remark.startswith("57: 3 questions, asked 19 times")
    values["benchmarks"] |= {"limit": 2, "download": True}
    values["seeds"] = [0, 1]
    checks = checked(values, ["benchmarks"])
    assert checks["benchmarks.chosen.gqa"].result == "not looked up"
    assert checks["answers of benchmarks"].remark.startswith("76: 2 questions, asked 38 times")


def test_the_longest_answer_of_the_benchmarks_counts(monkeypatch: pytest.MonkeyPatch):
    quick(monkeypatch)
    values = copy.deepcopy(parameters("tinyllava-0.5b"))
    counted = "729 patches, 128 of text, {} of an answer: {} of 32768 positions"
    stages = ["prepare", "align", "finetune", "reweight"]
    alone = checked(values, [*stages, "evaluate"])
    assert alone["evaluate.max_new_tokens"].remark == counted.format(64, 921)
    asked = checked(values, [*stages, "benchmarks"])  # MathVista's and ScienceQA's limit
    assert asked["evaluate.max_new_tokens"].remark == counted.format(1024, 1881)
    assert "cache 1.5" in asked["evaluate memory"].remark  # 0.72 GB x 1881 / 921


def test_a_run_of_benchmarks_alone_needs_no_questions_of_a_test():
    values = copy.deepcopy(parameters("internvl2.5-4b"))
    values["prepare"]["splits"] = {"train": {"records": None, "images": "/nowhere"}, "test": None}
    checks = checked(values, ["benchmarks"])
    assert checks["stage evaluate"].result == "ok"
    assert checked(values, EVALUATE)["evaluate.benchmarks.test.split"].result == "wrong"


def test_null_takes_an_architecture_out():
    values = copy.deepcopy(parameters("internvl2.5-4b"))
    values["architecture"] = {"lvlm": None}
    checks = checked(values, ["benchmarks"])
    assert checks["stage evaluate"].remark == "no configuration of lvlm"


def test_a_missing_path_is_named(small: dict[str, Any]):
    small["prepare"]["splits"]["align"]["images"] = "/nowhere"
    small["model"]["sentence"] = "/nowhere"
    assert stopping(checked(small, [])) == {"prepare.splits.align.images", "model.sentence"}


@pytest.mark.parametrize(("layer", "wrong"), [(27, False), (28, True), (-28, False), (-29, True)])
def test_a_layer_beyond_the_encoder_is_named(small: dict[str, Any], layer: int, wrong: bool):
    small["model"]["layer"] = small["sinks"]["encoders"]["encoder"]["layer"] = layer
    expected = {"model.layer", "sinks.encoders.encoder.layer"} if wrong else set()
    assert stopping(checked(small, [])) == expected


def test_a_profile_of_another_layer_than_the_connector_reads_is_named(small: dict[str, Any]):
    small["sinks"]["encoders"]["encoder"]["layer"] = 26  # the same as -2
    assert not stopping(checked(small, []))
    small["sinks"]["encoders"]["encoder"]["layer"] = 25
    assert stopping(checked(small, [])) == {"sinks.encoders.encoder.layer"}


def test_a_layer_of_a_selector_beyond_the_language_model_is_named(small: dict[str, Any]):
    small["reweight"]["selectors"]["lsg"]["options"]["layers"] = [3, 24]
    assert stopping(checked(small, [])) == {"reweight.selectors.lsg.options.layers"}
    small["reweight"]["selectors"]["lsg"]["options"]["layers"] = [3, 23]
    assert not stopping(checked(small, []))


@pytest.mark.parametrize("kind", ["phi4_multimodal", "mllama", "phi3_v"])
def test_a_family_that_is_refused_is_named(kind: str, monkeypatch: pytest.MonkeyPatch):
    quick(monkeypatch)
    values = parameters("gemma3-12b")
    values["architecture"]["lvlm"] = {"model_type": kind}
    check = checked(values, EVALUATE)["architecture.lvlm"]
    assert check.result == "wrong"
    assert kind in check.remark


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", "JSON list"), ("[", "line 1"), ('[{"id": "a"}, {"id": "b"}]', "2 quarantined")],
)
def test_records_in_a_wrong_format_are_named(
    small: dict[str, Any], tmp_path: Path, text: str, said: str
):
    (tmp_path / "wrong.json").write_text(text)
    small["prepare"]["splits"]["train"]["records"] = str(tmp_path / "wrong.json")
    checks = checked(small, [])
    assert stopping(checks) == {"prepare.splits.train"}
    assert said in checks["prepare.splits.train"].remark


def test_a_dialogue_that_images_fill_is_named(small: dict[str, Any]):
    small["align"]["max_length"] = 729
    small["finetune"]["max_length"] = 40_000
    assert stopping(checked(small, [])) == {"align.max_length", "finetune.max_length"}


def test_a_config_json_at_hand_is_held_against_the_parameters(
    small: dict[str, Any], tmp_path: Path
):
    from transformers import AutoConfig

    folder = tmp_path / "encoder"
    AutoConfig.for_model(**small["architecture"]["encoder"]).save_pretrained(folder)
    small["model"]["encoder"] = small["sinks"]["encoders"]["encoder"]["path"] = str(folder)
    found = checked(small, [])
    assert found["architecture.encoder"].result == "ok"
    assert "config.json" in found["architecture.encoder"].remark
    config = json.loads((folder / "config.json").read_text()) | {"hidden_size": 1024}
    (folder / "config.json").write_text(json.dumps(config))
    wrong = checked(small, [])["architecture.encoder"]
    assert wrong.result == "wrong"
    assert "1024" in wrong.remark
    assert "1152" in wrong.remark


def test_a_run_larger_than_the_card_says_so(monkeypatch: pytest.MonkeyPatch):
    quick(monkeypatch)
    checks = checked(parameters("llava-1.5-7b"), [])
    assert checks["finetune memory"].remark.startswith("MORE")
    assert not checks["align memory"].remark.startswith("MORE")
    assert checks["finetune memory"].result == "estimate"


# --- As a command ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # of Kedro's plugins as they are imported
def test_a_dry_run_leaves_nothing_behind(tmp_path: Path):
    project = make_project(tmp_path)
    preset(project / "conf", "mine", "extends: gemma3-12b\nlvlm: {tau: 5.0}")
    before = sorted(project.rglob("*"))
    with pytest.raises(DryRunError) as error:
        kedro_run(project, *EVALUATE, env="mine", dry_run=True)
    assert stopping({check.what: check for check in error.value.checks}) == {
        "prepare.splits.test.records",
        "prepare.splits.test.images",
    }
    after = [path for path in sorted(project.rglob("*")) if ".cache" not in path.parts]
    assert after == before
    assert loaded(project / "conf", "mine")["lvlm"]["tau"] == 5.0


def test_the_table_fits_a_terminal():
    file = io.StringIO()
    checks = [
        Check("prepare.splits.reweight.records", "not looked up", f"{'word ' * 40}[brackets]")
    ]
    show(checks, Console(file=file, width=80))
    assert max(map(len, file.getvalue().splitlines())) <= 80
    assert "[brackets]" in file.getvalue().replace("\n", "")


def test_a_pipeline_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="evalaute"):
        dry_run(parameters("base"), ["evalaute"])
