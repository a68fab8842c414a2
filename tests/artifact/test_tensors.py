"""Tensors come back as they were saved; what is damaged is named."""

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from diysink.artifact import BrokenFileError, check_tensors, load_json, load_tensors

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2], dtype=torch.int64)}


@pytest.fixture
def file(tmp_path):
    save_file(TENSORS, tmp_path / "x.safetensors", {"format": "pt"})
    return tmp_path / "x.safetensors"


def test_tensors_come_back(file):
    loaded = load_tensors(file)
    assert loaded.keys() == TENSORS.keys()
    assert all(torch.equal(loaded[name], TENSORS[name]) for name in TENSORS)
    assert set(check_tensors(file)) == {"a", "b"}


def test_no_tensors_are_tensors(tmp_path):
    save_file({}, tmp_path / "x.safetensors")
    assert load_tensors(tmp_path / "x.safetensors") == {}


def header(name, dtype, size):
    said = json.dumps({name: {"dtype": dtype, "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(said).to_bytes(8, "little") + said + bytes(size)


CONTENTS = {
    "missing": (None, "no such file"),
    "empty": (b"", "0 bytes"),
    "three bytes": (b"abc", "cut off"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "page": (b"<!DOCTYPE html>", "web page"),
    "pickle": (b"\x80\x02}q\x00." + b"x" * 9, "pickle"),
    "zip": (b"PK\x03\x04" + b"x" * 20, "pickle"),
    "zeros": (bytes(64), "header"),
    "length": (b"\xff" * 64, "header"),
    "no JSON": ((5).to_bytes(8, "little") + b"hello", "header"),
    "a list": ((2).to_bytes(8, "little") + b"[]", "header"),
    "dtype": (header("a", "Q9", 4), "header"),
    "cut": (header("a", "U8", 40)[:-3], "cut off"),
    "more": (header("a", "U8", 40) + b"x", "header"),
    "negative": (header("a", "U8", 40).replace(b"[0, 40]", b"[-1,40]"), "header"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_what_is_no_safetensors_file_is_named(kind, tmp_path):
    content, why = CONTENTS[kind]
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    for read in (check_tensors, load_tensors):
        with pytest.raises(BrokenFileError) as caught:
            read(path)
        assert caught.value.path == path
        assert str(path) in str(caught.value)
        assert why in caught.value.why


def test_a_folder_and_a_link_are_named(tmp_path):
    with pytest.raises(BrokenFileError, match="a folder"):
        load_tensors(tmp_path)
    (tmp_path / "x").symlink_to(tmp_path / "y")
    with pytest.raises(BrokenFileError, match="a link to"):
        load_tensors(tmp_path / "x")


def test_every_single_bit_of_a_header_is_named_or_read(file, tmp_path):
    """No flipped bit of the header's length or content is an error without the file's name."""
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    broken = tmp_path / "broken.safetensors"
    named = []
    for place in range(8 * end):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        broken.write_bytes(changed)
        try:
            load_tensors(broken)
        except BrokenFileError as error:
            named.append(error.path)
    assert set(named) == {broken}
    assert len(named) > 4 * end


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        (b"", "0 bytes"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"<html>", "web page"),
        (b"[" * 100_000, "nested"),
    ],
)
def test_json_that_cannot_be_read_is_named(content, why, tmp_path):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BrokenFileError) as caught:
        load_json(path)
    assert caught.value.path == path
    assert why in caught.value.why


def test_the_error_travels_between_processes(tmp_path):
    error = pickle.loads(pickle.dumps(BrokenFileError(tmp_path, "why")))
    assert (error.path, error.why) == (tmp_path, "why")
