"""Every folder under conf/ loads, says nothing that base does not know, and means something."""

import os
from pathlib import Path
from typing import Any

import pytest

from pipelines import settings
from pipelines.parameters import build
from pipelines.schema import Settings
from tests.pipelines.project import ROOT

PRESETS = sorted(p.name for p in (ROOT / "conf").iterdir() if p.is_dir() and p.name != "base")


def parameters(env: str) -> dict[str, Any]:
    arguments = {**settings.CONFIG_LOADER_ARGS, "default_run_env": env}
    loader = settings.CONFIG_LOADER_CLASS(conf_source=str(ROOT / "conf"), env=env, **arguments)
    return loader["parameters"]


def settings_of(env: str) -> dict[str, Any]:
    """The settings of all stages in one environment."""
    return build(parameters(env), [])


def changed(given: Settings, **changes: Any) -> Any:
    """The same settings with other values."""
    return type(given).model_validate(given.plain() | changes)


def test_there_is_a_preset_for_the_tests_and_for_each_published_recipe():
    assert {"test", "training-free", *TRAINED} <= set(PRESETS)


def preset(conf: Path, name: str, text: str) -> None:
    (conf / name).mkdir(parents=True)
    (conf / name / "parameters.yml").write_text(text)


def loaded(conf: Path, env: str, **given: Any) -> dict[str, Any]:
    arguments = {**settings.CONFIG_LOADER_ARGS, "default_run_env": env}
    loader = settings.CONFIG_LOADER_CLASS(str(conf), env=env, runtime_params=given, **arguments)
    return loader["parameters"]


def test_a_preset_extends_another_which_extends_a_third(tmp_path: Path):
    preset(tmp_path, "base", "a: {x: 1, y: 1, z: 1, w: 1, v: 1}")
    preset(tmp_path, "first", "a: {y: 2, z: 2, w: 2, v: 2}")
    preset(tmp_path, "second", "extends: first\na: {z: 3, w: 3, v: null}")
    preset(tmp_path, "third", "extends: second\na: {w: 4}")
    found = loaded(tmp_path, "third", a={"x": 5})
    assert found == {"env": "third", "a": {"x": 5, "y": 2, "z": 3, "w": 4, "v": None}}
    assert loaded(tmp_path, "base", extends="second")["a"]["w"] == 3  # as `--params extends=...`
    assert loaded(tmp_path, "first")["a"] == {"x": 1, "y": 2, "z": 2, "w": 2, "v": 2}


@pytest.mark.parametrize("named", ["nowhere", "mine", "[a]"])
def test_a_preset_that_extends_nothing_or_itself_is_refused(tmp_path: Path, named: str):
    preset(tmp_path, "base", "a: 1")
    preset(tmp_path, "mine", f"extends: {named}")
    with pytest.raises(ValueError, match="extends"):
        loaded(tmp_path, "mine")


TRAINED = ["llava-1.5-7b", "tinyllava-0.5b", "tinyllava-3.1b", "tinyllava-3b-qwen"]


@pytest.mark.parametrize("env", TRAINED)
def test_the_recipes_are_the_papers(env):
    """LLaVA's: 558K pairs at batch 256, lr 1e-3; 665K at batch 128, lr 2e-5, warm-up 3 %."""
    values = parameters(env)
    align, finetune = values["align"], values["finetune"]
    assert align["batch_size"] * align["trainer"]["accumulate_grad_batches"] == 256
    assert align["max_steps"] == -(-558_128 // 256) - 1
    assert align["learning_rate"] == 1e-3
    assert finetune["batch_size"] * finetune["trainer"]["accumulate_grad_batches"] == 128
    assert finetune["max_steps"] == 665_298 // 128
    assert (finetune["learning_rate"], finetune["warmup_ratio"]) == (2e-5, 0.03)
    reweight = values["reweight"]
    model, text = values["model"], values["architecture"]["language"]["model_type"]
    assert (model["chat_template"] is None) == (text == "qwen2")  # Vicuna and Phi-2 have none
    assert (reweight["epochs"], reweight["learning_rate"]) == (10, 1e-2)
    assert reweight["batch_size"] * reweight["trainer"]["accumulate_grad_batches"] == 20


def test_paths_follow_the_project_that_the_command_runs_in(tmp_path: Path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    monkeypatch.chdir(tmp_path)
    assert parameters("base")["workspace"] == os.path.join(tmp_path, "data/.work")  # noqa: PTH118
