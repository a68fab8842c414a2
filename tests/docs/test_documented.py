"""What the README and the guides tell the reader to type is thought of, and means something."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.framework.cli.utils import _split_params
from PIL import Image
from transformers import LlavaForConditionalGeneration

import diysink
from pipelines import settings
from pipelines.parameters import build
from pipelines.pipeline_registry import ON_REQUEST, STAGES
from tests.docs.commands import ELSEWHERE, HOW, PAGES, ROOT, SHELL, Block, Run, blocks, executable
from tests.model.test_conversion import profile_of, write

ALL = [block for page in PAGES for block in blocks(page)]
LANGUAGES = SHELL | {"python", "yaml", "json"}


def test_every_block_is_run_or_skipped_for_a_reason() -> None:
    told = {block: block.keys for page in PAGES for block in executable(page)}
    new = [(block.page, block.text[:60]) for block, keys in told.items() if len(keys) != 1]
    assert new == [], "say in HOW of tests/docs/commands.py what is done with these"
    used = [key for keys in told.values() for key in keys]
    assert sorted(used) == sorted(HOW), "HOW speaks of blocks that are gone, or of two at once"
    assert {block.language for block in ALL} <= LANGUAGES
    assert all(isinstance(how, Run) or how.why for how in HOW.values())


@pytest.mark.parametrize("page", sorted(ELSEWHERE))
def test_pages_that_run_elsewhere_do(page: str) -> None:
    text = (ROOT / ELSEWHERE[page]).read_text()
    assert Path(page).name in text
    assert re.search(r"exec\(compile\(block", text)


def test_commands_are_told_from_comments_and_continued_lines() -> None:
    block = Block("page", "sh", "a 'b'  # say\n# all\n\nc \\\n  -d=#e\n")
    assert block.lines == ["a 'b'", "c   -d=#e"]


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "python"], ids=lambda b: b.page)
def test_python_is_python_and_takes_what_there_is(block: Block) -> None:
    import importlib

    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("diysink"):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)


RUNS = [
    pytest.param(line, id=f"{page}-{line[:60]}")
    for page in PAGES
    for block in executable(page)
    if block.language in SHELL
    for command in block.lines
    for line in command.split("&&")
    if re.match(r"\s*(\S*/)?kedro run\b", line)
]


MADE = {"found", "mine"}
"""Presets that a documented command makes."""


@pytest.mark.parametrize("line", RUNS)
def test_a_documented_run_has_stages_and_settings_that_there_are(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(line)
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert set(options) <= {"--env", "--params", "--pipelines"}
    stages = options["--pipelines"].split(",") if "--pipelines" in options else list(STAGES)
    assert set(stages) <= STAGES.keys() | ON_REQUEST.keys()
    params = _split_params(None, None, options.get("--params", ""))
    env = options.get("--env")
    build(parameters(None if env in MADE else env, params), stages)


SETTINGS = [block for block in ALL if block.language == "yaml"]


@pytest.mark.parametrize("block", SETTINGS, ids=lambda b: f"{b.page}-{b.text[:20]}")
def test_documented_settings_are_settings_that_there_are(
    block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With base's own, and in the presets that their pages speak of."""
    monkeypatch.chdir(ROOT)
    said: dict[str, Any] = yaml.safe_load(block.text)
    if block.page.endswith("mlflow.md"):  # conf/local/mlflow.yml, which test_store.py uses
        assert said.keys() <= {"server", "tracking", "ui"}
        return
    presets = {"your-model.md": "checkpoint", "training-free.md": "training-free"}
    preset = presets.get(Path(block.page).name)
    stages = {
        "your-data.md": {"prepare", "sinks"},
        "trainings.md": {"prepare", "sinks", "align", "finetune", "evaluate", "dose"},
        "your-encoder.md": {"prepare", "sinks"},
        "training-free.md": {"prepare", "evaluate"},
        "your-model.md": {"prepare", "sinks", "adopt", "evaluate"},
        "gpu.md": set(STAGES),
        "scale.md": {"align", "finetune"},
        "benchmarks.md": {"align", "finetune", "reweight", "benchmarks"},
    }[Path(block.page).name]
    missing = {"lvlm": {"path": "hub/model"}} if "training-free" in block.page else {}
    build(parameters(preset, missing | said), stages)


def parameters(env: str | None, runtime: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a preset, with others in their place as ``--params`` puts them."""
    arguments = {**settings.CONFIG_LOADER_ARGS, "default_run_env": env or "base"}
    loader = settings.CONFIG_LOADER_CLASS(
        conf_source=str(ROOT / "conf"), env=env or "base", runtime_params=runtime, **arguments
    )
    found: dict[str, Any] = loader["parameters"]
    return found


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default:UserWarning")  # and short
def test_the_readme_s_python_runs_on_a_tiny_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Any
) -> None:
    """Under the names that the README gives: folders of that name are found before the hub."""
    from diysink import from_llava
    from diysink.encoders import load_encoder

    monkeypatch.chdir(tmp_path)
    llava = tmp_path / "llava-hf/llava-1.5-7b-hf"
    write(llava, "clip", "llama", tokenizer)
    write(tmp_path / "openai/clip-vit-large-patch14-336", "clip", "llama", tokenizer)
    processor = from_llava(str(llava), None).processor
    names: dict[str, Any] = {
        "model": LlavaForConditionalGeneration.from_pretrained(llava),
        "inputs": processor(
            images=[Image.new("RGB", (20, 14), "red")], text="<image> a b", return_tensors="pt"
        ),
        "profile": profile_of(llava),
        "image": Image.new("RGB", (20, 14), "red"),
    }
    place = tmp_path / "data/04_feature/sinks/encoder"
    place.mkdir(parents=True)
    profile_of(tmp_path / "openai/clip-vit-large-patch14-336").save(place / "profile.json")
    for start in ("import diysink\n", "from diysink.encoders import"):
        [text] = [b.text for b in blocks("README.md") if b.text.startswith(start)]
        exec(compile(text, "README.md", "exec"), names)
    assert names["sinks"].shape[0] == 1
    names["profile"].check(load_encoder("openai/clip-vit-large-patch14-336", layer=-2).identity)


def test_the_readmes_figures_are_those_of_the_results() -> None:
    readme, results = ((ROOT / name).read_text() for name in ("README.md", "docs/results.md"))
    figures = re.findall(r"[\d.]+ \[[\d.]+, [\d.]+\]", readme)
    assert len(figures) == 18
    assert [figure for figure in figures if figure not in results] == []


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == diysink.__version__
    assert citation["references"][0]["url"] in (ROOT / "README.md").read_text()
