"""A saved model says nothing of the folders that it was made in: the same model, the same files."""

import json
import shutil

import pytest
import torch

from diysink.artifact import BrokenFileError, digest_file
from diysink.encoders import CheckpointError
from diysink.model import DIYSinkConfig, DIYSinkForConditionalGeneration, Parts, assemble, load
from diysink.model.saving import drop_places, without_places
from tests.model.test_conversion import bare, write  # noqa: F401


def made(folder):
    return assemble(
        Parts(encoder=str(folder / "encoder"), language=str(folder / "language")),
        None, connector="dual", arrangement="front",
    )  # fmt: skip


def digests(folder):
    found = {p.relative_to(folder).as_posix(): digest_file(p) for p in folder.rglob("*.*")}
    assert {"config.json", "model.safetensors", "tokenizer_config.json"} <= found.keys()
    return found


def says(folder, *paths):
    """Names of the files in which one of the paths stands."""
    return [
        file.name
        for file in folder.rglob("*.*")
        if any(str(path).encode() in file.read_bytes() for path in paths)
    ]


def test_the_same_model_from_two_folders_and_a_link_is_the_same_files(parts, tmp_path):
    shutil.copytree(parts, tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(parts)
    saved = {}
    for name, folder in (
        ("here", parts), ("elsewhere", tmp_path / "elsewhere"), ("link", tmp_path / "link")
    ):  # fmt: skip
        made(folder).save(tmp_path / "saved" / name)
        saved[name] = digests(tmp_path / "saved" / name)
    assert saved["here"] == saved["elsewhere"] == saved["link"]
    assert says(tmp_path / "saved", tmp_path, parts) == []


def test_what_is_loaded_and_saved_again_is_the_same_configuration(parts, tmp_path):
    """Also by transformers' own save_pretrained."""
    made(parts).save(tmp_path / "a")
    for name in ("b", "c"):
        shutil.copytree(tmp_path / "a", tmp_path / name)
        load(tmp_path / name).model.save_pretrained(tmp_path / f"{name}-again")
    again = [digest_file(tmp_path / f"{name}-again" / "config.json") for name in ("b", "c")]
    assert again[0] == again[1]
    assert says(tmp_path / "b-again", tmp_path) == []
    config = DIYSinkConfig.from_pretrained(tmp_path / "b-again")
    assert (config.connector, config.text_config.hidden_size) == ("dual", 16)


def test_a_converted_checkpoint_too(tmp_path, bare):  # noqa: F811
    from diysink.model import from_llava

    write(tmp_path / "one", "clip", "llama", bare)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for name in ("one", "two"):
        from_llava(tmp_path / name, None).save(tmp_path / f"saved-{name}")
    assert digests(tmp_path / "saved-one") == digests(tmp_path / "saved-two")
    assert says(tmp_path / "saved-one", tmp_path) == []


def test_places_go_and_data_stays(tmp_path):
    value = {"a": [{"_name_or_path": "/x", "tokenizer_file": "/y", "b": {"is_local": True}}]}
    assert without_places(value) == {"a": [{"b": {}}]}
    vocabulary = {"model": {"vocab": {"name_or_path": 1, "is_local": 2}}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(vocabulary))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "config.json").write_text(json.dumps({"name_or_path": "/x", "c": 1}))
    drop_places(tmp_path)
    assert json.loads((tmp_path / "tokenizer.json").read_text()) == vocabulary
    assert json.loads((tmp_path / "in" / "config.json").read_text()) == {"c": 1}


def rename_weight(path, old, new):
    """Exchange some letters of a name in the header: the file keeps its size."""
    data = path.read_bytes()
    assert len(old) == len(new)
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def test_a_damaged_name_of_a_weight_is_no_random_weight(parts, tmp_path):
    """The file keeps its size and can be read; the weight would be another in every process."""
    shutil.copytree(parts, tmp_path / "parts")
    made(parts).save(tmp_path / "saved")
    rename_weight(tmp_path / "saved" / "model.safetensors", b"q_proj.weight", b"q_prok.weight")
    with pytest.raises(CheckpointError, match=r"lacks 1 weights.*q_proj.*saved/model\.safetensors"):
        load(tmp_path / "saved")
    language = tmp_path / "parts" / "language" / "model.safetensors"
    rename_weight(language, b"layers.0.self_attn.q_proj", b"layers.0.self_attn.q_prok")
    with pytest.raises(CheckpointError, match=r"lacks .*q_proj.*language/model\.safetensors"):
        made(tmp_path / "parts")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "processor_config.json"]
)
@pytest.mark.parametrize("size", [0, 1, -7])
def test_a_saved_model_with_a_file_cut_off_names_it(parts, tmp_path, name, size):
    made(parts).save(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BrokenFileError) as caught:
        load(tmp_path)
    assert caught.value.path == path


def test_another_model_is_not_loaded_as_a_saved_one(tmp_path, bare):  # noqa: F811
    write(tmp_path / "llava", "clip", "llama", bare)
    with pytest.raises(CheckpointError, match=r"is a 'llava' model.*from_llava"):
        load(tmp_path / "llava")


def test_the_weights_are_as_they_were(parts, tmp_path):
    one = made(parts)
    one.save(tmp_path)
    again = DIYSinkForConditionalGeneration.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(again[name], value) for name, value in one.model.state_dict().items())
