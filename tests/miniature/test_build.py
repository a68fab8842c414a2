import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModel, AutoModelForCausalLM, AutoTokenizer

from diysink.artifact import read_manifest
from diysink.miniature import build as building
from diysink.miniature import weights
from pipelines.miniature import create_pipeline
from pipelines.miniature.nodes import build_miniature
from pipelines.miniature.settings import Miniature

SMALL: dict[str, dict[str, Any]] = yaml.safe_load(
    Path("conf/test/parameters_miniature.yml").read_text()
)["miniature"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, _ = build_miniature(
        Miniature.model_validate(SMALL), 0, str(tmp_path_factory.mktemp("work"))
    )
    return folder


def test_the_folders_are_ordinary_hugging_face_ones(built: Path) -> None:
    assert AutoModel.from_pretrained(built / "encoder").config.model_type == "clip_vision_model"
    assert AutoImageProcessor.from_pretrained(built / "control").crop_size["height"] == 48
    assert AutoModelForCausalLM.from_pretrained(built / "language").config.model_type == "llama"
    assert AutoModel.from_pretrained(built / "sentence").config.model_type == "bert"
    assert AutoTokenizer.from_pretrained(built / "language").chat_template
    assert AutoTokenizer.from_pretrained(built / "sentence").chat_template is None
    assert read_manifest(built, thorough=True)["parameters"] == SMALL


def test_the_cards_say_induced(built: Path) -> None:
    cards = {path.parent.name: path.read_text() for path in built.glob("*/README.md")}
    assert set(cards) == {"encoder", "control", "conflict", "language", "sentence"}
    assert "without induction" in cards.pop("control")
    assert all("**induced**" in card for card in cards.values())


def test_a_killed_build_goes_on_with_the_same_weights(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[bool] = []
    whole = building.train_encoder

    def count(**options: Any) -> Any:
        trained.append(options["induced"])
        return whole(**options)

    def kill(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "train_encoder", count)
    with monkeypatch.context() as patch:
        patch.setattr(building, "train_language_model", kill)
        with pytest.raises(KeyboardInterrupt):
            build_miniature(Miniature.model_validate(SMALL), 0, str(tmp_path))
    folder, figures = build_miniature(Miniature.model_validate(SMALL), 0, str(tmp_path))
    assert trained == [True, False, True]
    assert set(figures) == {"encoder", "control", "conflict", "language", "sentence"}
    for part in figures:
        ours, theirs = (load_file(root / part / "model.safetensors") for root in (folder, built))
        assert ours.keys() == theirs.keys()
        assert all((ours[name] == theirs[name]).all() for name in ours)


def test_figures_are_json(built: Path) -> None:
    figures = read_manifest(built)["figures"]
    assert json.loads(json.dumps(figures)) == figures
    assert {"norm_plain", "high_precision", "plain_scene", "other_scene"} <= set(figures["encoder"])
    assert {"global", "local", "mixed", "complexity", "scope"} <= set(figures["language"])


def test_the_shipped_cards_name_the_parameters_in_conf() -> None:
    conf = yaml.safe_load(Path("conf/base/parameters_miniature.yml").read_text())["miniature"]
    for part in weights.PARTS:
        card = (weights.path(part) / "README.md").read_text()
        assert json.dumps(conf[part], sort_keys=True) in card


def test_the_pipeline_ends_in_models_and_figures() -> None:
    pipeline = create_pipeline()
    assert pipeline.outputs() == {"miniature_models", "miniature_figures"}
    assert all(name.startswith("params:") for name in pipeline.inputs())
