"""Artefacts are whole or absent, and say what they are."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diysink.artifact import (
    BrokenFolderError,
    Workspace,
    atomic_path,
    digest_json,
    digest_source,
    digest_tensors,
    publish,
    read_manifest,
    write_json,
    write_manifest,
)


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})

    def fail():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert json.loads(path.read_text()) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_nan_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()


def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "a.bin").write_bytes(b"abc")
    write_manifest(source, kind="test")
    return source


def test_a_published_folder_is_whole_and_replaces_the_old_one(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "stale").write_text("old")
    source = folder(tmp_path)
    publish(source, target)
    manifest = read_manifest(target, thorough=True)
    assert manifest["kind"] == "test"
    assert list(manifest["files"]) == ["deep/a.bin"]
    assert not (target / "stale").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source", "target"]


def test_an_unfinished_folder_is_neither_published_nor_read(tmp_path):
    source = folder(tmp_path)
    (source / "manifest.json").unlink()
    with pytest.raises(BrokenFolderError, match="never finished"):
        publish(source, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("damage", ["missing", "short", "changed", "outside"])
def test_damage_is_named(tmp_path, damage):
    source = folder(tmp_path)
    path = source / "deep" / "a.bin"
    match damage:
        case "missing":
            path.unlink()
        case "short":
            path.write_bytes(b"a")
        case "changed":
            path.write_bytes(b"abd")
        case "outside":
            manifest = json.loads((source / "manifest.json").read_text())
            manifest["files"]["../../secret"] = {"bytes": 1, "sha256": ""}
            (source / "manifest.json").write_text(json.dumps(manifest))
    message = {"missing": "missing", "short": "1 bytes", "changed": "content", "outside": "outside"}
    with pytest.raises(BrokenFolderError, match=message[damage]):
        read_manifest(source, thorough=True)


def test_a_workspace_belongs_to_its_inputs(tmp_path):
    one = Workspace(tmp_path, "stage", {"x": 1})
    one.finish("unit/a", [1, 2])
    assert Workspace(tmp_path, "stage", {"x": 1}).finished("unit/a") == [1, 2]
    assert Workspace(tmp_path, "stage", {"x": 2}).finished("unit/a") is None
    one.clear()
    assert not (tmp_path / "stage" / one.key).exists()


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_the_digest_of_json_ignores_order_alone(value):
    assert digest_json(dict(reversed(value.items()))) == digest_json(value)
    assert digest_json({**value, "more": 1, "still": 2}) != digest_json(value)


def test_the_digest_of_tensors_sees_names_shapes_types_and_bits():
    base = {"a": torch.zeros(2, 3)}
    others = [
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(2, 3, dtype=torch.int32)},
        {"a": torch.zeros(2, 3).index_fill(0, torch.tensor([0]), 1e-30)},
    ]
    assert digest_tensors(base) == digest_tensors({"a": torch.zeros(2, 3)})
    assert len({digest_tensors(d) for d in [base, *others]}) == 5


def test_a_source_is_its_files_wherever_they_lie(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert digest_source(str(tmp_path / "one")) == digest_source(str(tmp_path / "two"))
    assert digest_source("someone/model") == "someone/model@main"
