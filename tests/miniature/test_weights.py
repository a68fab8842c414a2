"""The shipped weights do what their cards say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, LlavaProcessor

from diysink.miniature import weights
from diysink.miniature.build import image_processor
from diysink.miniature.encoder import ATTRIBUTES, pictures
from diysink.miniature.figures import (
    encoder_figures,
    hidden_states,
    language_figures,
    sentence_figures,
)

UNSEEN = 77


def load(part: str) -> Any:
    return AutoModel.from_pretrained(weights.path(part))


@pytest.fixture(scope="module")
def figures() -> dict[str, dict[str, float]]:
    return {
        part: encoder_figures(load(part), seed=UNSEEN, images=400)
        for part in ("encoder", "control")
    }


def test_induced_sinks_are_the_plain_cells(figures: dict[str, dict[str, float]]) -> None:
    measured = figures["encoder"]
    assert measured["high_precision"] >= 0.98
    assert measured["high_recall"] >= 0.98
    assert measured["norm_plain"] > 5 * measured["norm_other"]


def test_the_control_has_none(figures: dict[str, dict[str, float]]) -> None:
    measured = figures["control"]
    assert measured["high_recall"] <= 0.02
    assert 0.8 < measured["norm_plain"] / measured["norm_other"] < 1.25


def test_sinks_carry_the_global_attributes(figures: dict[str, dict[str, float]]) -> None:
    read = {k: v for k, v in figures["encoder"].items() if k.startswith("plain_")}
    assert min(read.values()) > 0.9
    assert figures["encoder"]["cell_object"] > 0.95
    assert figures["control"]["cell_object"] > 0.95


def test_one_threshold_parts_the_norms_of_all_pictures() -> None:
    seen = next(pictures(UNSEEN, 128))
    with torch.no_grad():
        norms = hidden_states(load("encoder"), seen).norm(dim=-1)
    assert norms[seen.plain].min() > norms[~seen.plain].max()


def test_the_language_model_answers_from_words() -> None:
    folder = weights.path("language")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    right = language_figures(model, AutoTokenizer.from_pretrained(folder), seed=UNSEEN, scenes=40)
    for name in ("global", "local", "mixed", "complexity", "scope"):
        assert right[name] >= 0.9, (name, right)


def test_the_sentence_encoder_tells_subtasks_apart() -> None:
    folder = weights.path("sentence")
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert sentence_figures(model, tokenizer, seed=UNSEEN)["nearest_same_subtask"] >= 0.95


def test_a_processor_expands_the_image_token() -> None:
    tokenizer = AutoTokenizer.from_pretrained(weights.path("language"))
    processor = LlavaProcessor(
        image_processor=image_processor(),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
    parts = [{"type": "image"}, {"type": "text", "text": "what is the scene?"}]
    asked = processor.apply_chat_template(
        [{"role": "user", "content": parts}], add_generation_prompt=True
    )
    assert asked == "USER: <image>\nwhat is the scene? ASSISTANT:"
    image = torch.zeros(3, 48, 48, dtype=torch.uint8)
    batch = processor(images=image, text=asked, return_tensors="pt")
    marker = tokenizer.convert_tokens_to_ids("<image>")
    assert (batch["input_ids"] == marker).sum() == 36
    assert batch["pixel_values"].shape == (1, 3, 48, 48)


def test_all_parts_together_stay_small_and_say_induced() -> None:
    folders = [weights.path(part) for part in weights.PARTS]
    assert sum((folder / "model.safetensors").stat().st_size for folder in folders) < 8_000_000
    for folder in folders:
        assert "induc" in (folder / "README.md").read_text()
        assert "transformers_version" in json.loads((folder / "config.json").read_text())
        assert not [p for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pkl")]


def test_unknown_parts_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No part 'decoder'"):
        weights.path("decoder")
    monkeypatch.setattr(weights, "files", lambda package: tmp_path)
    with pytest.raises(FileNotFoundError, match="not complete"):
        weights.path("encoder")


@torch.no_grad()
def test_in_conflict_an_attribute_and_an_object_have_one_direction() -> None:
    """The k-th attribute at sinks points where the k-th kind of object points elsewhere."""
    seen = next(pictures(7, 256))

    def likeness(part: str) -> float:
        hidden = hidden_states(load(part).eval(), seen)
        states = F.layer_norm(hidden, hidden.shape[-1:])
        pooled = torch.stack(
            [own[plain].mean(0) for own, plain in zip(states, seen.plain, strict=True)]
        )
        counts = torch.tensor([0, *ATTRIBUTES.values()]).cumsum(0)
        classes = seen.attributes + counts[:-1]
        attributes, objects = [], []
        for k in range(int(counts[-1])):
            which = int((counts[1:] > k).nonzero()[0])
            has = classes[:, which] == k
            attributes.append(pooled[has].mean(0) - pooled[~has].mean(0))
            cells = (seen.cells == k + 1) & ~seen.plain
            objects.append(states[cells].mean(0) - states[(seen.cells > 0) & ~cells].mean(0))
        return F.cosine_similarity(torch.stack(attributes), torch.stack(objects)).mean().item()

    assert likeness("conflict") > 0.3
    assert abs(likeness("encoder")) < 0.15
