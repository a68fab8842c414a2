"""Every folder under conf/ loads, says nothing that base does not know, and means something."""

import os
from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader

from diysink.model import Parts
from diysink.selection import CoTTemplates
from diysink.training import FitSettings
from pipelines import settings
from pipelines.prepare.options import Options
from tests.pipelines.project import ROOT

PRESETS = sorted(p.name for p in (ROOT / "conf").iterdir() if p.is_dir() and p.name != "base")
# Mappings whose keys are the user's names, not ours.
OPEN = {"prepare.splits", "prepare.generate", "sinks.encoders", "sinks.expect", "evaluate.variants"}
OPEN |= {"training_free.variants", "align.arrangement", "align.connector_options"}
# Keywords of training functions, which refuse what they do not know.
OPEN |= {f"miniature.{part}" for part in ("encoder", "control", "language", "sentence")}


def parameters(env: str) -> dict[str, Any]:
    arguments = {**settings.CONFIG_LOADER_ARGS, "default_run_env": env}
    loader = OmegaConfigLoader(conf_source=str(ROOT / "conf"), env=env, **arguments)
    return loader["parameters"]


def unknown(preset: Any, base: Any, at: str = "") -> list[str]:
    """Keys of ``preset`` that ``base`` does not have."""
    if not isinstance(preset, dict) or not isinstance(base, dict) or at in OPEN:
        return []
    found = [f"{at}.{key}".lstrip(".") for key in preset if key not in base]
    for key in preset.keys() & base.keys():
        found += unknown(preset[key], base[key], f"{at}.{key}".lstrip("."))
    return found


def own(env: str) -> dict[str, Any]:
    """What a preset's files say, without base."""
    import yaml

    said: dict[str, Any] = {}
    for path in (ROOT / "conf" / env).glob("parameters*.yml"):
        said |= yaml.safe_load(path.read_text())
    return said


def test_there_is_a_preset_for_the_tests_and_for_each_published_recipe():
    assert {"test", "llava-1.5-7b", "tinyllava-0.5b"} <= set(PRESETS)


@pytest.mark.parametrize("env", PRESETS)
def test_a_preset_says_only_what_base_knows(env):
    assert unknown(own(env), parameters("base")) == []


def test_a_misspelt_key_is_noticed():
    assert unknown({"align": {"stepz": 1}}, parameters("base")) == ["align.stepz"]


@pytest.mark.parametrize("env", ["base", *PRESETS])
def test_the_values_are_what_the_code_takes(env, monkeypatch):
    monkeypatch.chdir(ROOT)
    values = parameters(env)
    Options.read(values["prepare"])
    model = {k: v for k, v in values["model"].items() if k not in ("profile", "sentence")}
    Parts(**model)
    for stage in ("align", "finetune", "reweight"):
        FitSettings(**values[stage]["trainer"])
    cot = values["evaluate"]["cot"]
    CoTTemplates(
        cot["image"], tuple(cot["image_choices"]), cot["scope"], tuple(cot["scope_choices"])
    )
    assert values["model"]["profile"] in {
        name for name, how in values["sinks"]["encoders"].items() if how is not None
    }
    for how in values["evaluate"]["variants"].values():
        assert how is None or how["connector"] in values["align"]["connectors"]
    for name in (values["evaluate"]["baseline"], values["evaluate"]["candidate"]):
        assert values["evaluate"]["variants"][name] is not None


@pytest.mark.parametrize("env", ["llava-1.5-7b", "tinyllava-0.5b"])
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
    assert (reweight["epochs"], reweight["learning_rate"]) == (10, 1e-2)
    assert reweight["batch_size"] * reweight["trainer"]["accumulate_grad_batches"] == 20


def test_paths_follow_the_project_that_the_command_runs_in(tmp_path: Path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    monkeypatch.chdir(tmp_path)
    assert parameters("base")["workspace"] == os.path.join(tmp_path, "data/.work")  # noqa: PTH118
