"""What was trained to select comes back from its folder, or the damaged file is named."""

import json
import shutil

import pytest
import torch
from torch import nn

from diysink.artifact import BrokenFileError
from diysink.selection import (
    LanguageModelSentences,
    LayerGates,
    LayerGatesSettings,
    LSGSelection,
    Reweight,
    ReweightSelection,
    ReweightSettings,
    load_selection,
    save_selection,
)


@pytest.fixture
def embeddings():
    torch.manual_seed(0)
    return nn.Embedding(14, 5)


@pytest.fixture(params=["reweight", "lsg"])
def saved(request, tmp_path, embeddings, tokenizer):
    """A folder, the name of its files, and how it is loaded."""
    if request.param == "lsg":
        selection = LSGSelection(LayerGates(LayerGatesSettings(16, (0, 1), hidden=4)))
    else:
        sentences = LanguageModelSentences(embeddings, tokenizer)
        selection = ReweightSelection(sentences, Reweight(ReweightSettings(5, 4)))
    save_selection(selection, tmp_path)
    return tmp_path, request.param, lambda: load_selection(tmp_path, "x", embeddings, tokenizer)


def test_it_comes_back(saved):
    folder, name, load = saved
    loaded = load()
    assert type(loaded) is {"lsg": LSGSelection, "reweight": ReweightSelection}[name]
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.json", f"{name}.safetensors"]


CHANGES = {
    "no weights": ("safetensors", lambda path: path.unlink()),
    "weights cut off": ("safetensors", lambda path: path.write_bytes(path.read_bytes()[:-9])),
    "weights are a pointer": (
        "safetensors",
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
    ),
    "settings cut off": ("json", lambda path: path.write_bytes(path.read_bytes()[:-9])),
    "settings are a pointer": (
        "json",
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
    ),
    "settings are a list": ("json", lambda path: path.write_text("[]")),
    "unknown settings": (
        "json",
        lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | {"x": 1})),
    ),
    "settings of other weights": (
        "json",
        lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden": 3})),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_damaged_file_is_named(change, saved):
    folder, name, load = saved
    suffix, damage = CHANGES[change]
    damage(folder / f"{name}.{suffix}")
    with pytest.raises(BrokenFileError) as caught:
        load()
    assert caught.value.path.stem == name
    if change != "settings of other weights":  # which of the two is wrong is not known
        assert caught.value.path.name == f"{name}.{suffix}"


def test_a_folder_of_nothing_is_none(tmp_path, embeddings, tokenizer):
    assert load_selection(tmp_path, "x", embeddings, tokenizer) is None
    shutil.rmtree(tmp_path)
    assert load_selection(tmp_path, "x", embeddings, tokenizer) is None
