"""Every folder under conf/ loads, says nothing that base does not know, and means something."""

import os
from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader

from pipelines import settings
from pipelines.parameters import build
from pipelines.schema import Settings
from tests.pipelines.project import ROOT

PRESETS = sorted(p.name for p in (ROOT / "conf").iterdir() if p.is_dir() and p.name != "base")


def parameters(env: str) -> dict[str, Any]:
    arguments = {**settings.CONFIG_LOADER_ARGS, "default_run_env": env}
    loader = OmegaConfigLoader(conf_source=str(ROOT / "conf"), env=env, **arguments)
    return loader["parameters"]


def settings_of(env: str) -> dict[str, Any]:
    """The settings of all stages in one environment."""
    return build(parameters(env), [])


def changed(given: Settings, **changes: Any) -> Any:
    """The same settings with other values."""
    return type(given).model_validate(given.plain() | changes)


def test_there_is_a_preset_for_the_tests_and_for_each_published_recipe():
    assert {"test", "llava-1.5-7b", "tinyllava-0.5b"} <= set(PRESETS)


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
