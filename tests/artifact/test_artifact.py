"""Artefacts are whole or absent, and say what they are."""

import gc
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diysink.artifact import (
    BrokenFolderError,
    FileLock,
    Workspace,
    atomic_path,
    beside,
    check_name,
    digest_json,
    digest_source,
    digest_tensors,
    keep_workspaces,
    publish,
    read_manifest,
    sweep,
    write_json,
    write_manifest,
)
from diysink.artifact.lock import holder


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


@pytest.mark.parametrize("error", [OSError(28, "full"), RuntimeError("enforce fail")])
def test_a_full_disk_is_said_with_the_files_name(tmp_path, monkeypatch, error):
    """torch says "enforce fail" of it, and pyarrow does not say where."""
    usage = SimpleNamespace(free=1000)
    monkeypatch.setattr("diysink.artifact.atomic.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match="No space left") as raised, atomic_path(tmp_path / "a.ckpt"):
        raise error
    assert raised.value.filename == str(tmp_path / "a.ckpt")
    usage.free = 10**9
    with pytest.raises(RuntimeError, match="other"), atomic_path(tmp_path / "a.ckpt"):
        raise RuntimeError("other")


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


def test_links_into_a_cache_are_as_good_as_files(tmp_path):
    """DVC replaces files by links into its cache, which may lie anywhere."""
    source = folder(tmp_path)
    cached = tmp_path / "cache" / "ab"
    cached.parent.mkdir()
    (source / "deep" / "a.bin").rename(cached)
    (source / "deep" / "a.bin").symlink_to(cached)
    assert read_manifest(source, thorough=True)["kind"] == "test"
    publish(source, tmp_path / "target")
    assert (tmp_path / "target" / "deep" / "a.bin").read_bytes() == b"abc"
    assert not (tmp_path / "target" / "deep" / "a.bin").is_symlink()
    cached.write_bytes(b"abd")
    with pytest.raises(BrokenFolderError, match=r"a\.bin: damaged"):
        read_manifest(source, thorough=True)


@pytest.mark.parametrize("name", ["../out", "/etc/hostname", "deep/../../out", ""])
def test_names_that_lead_out_of_a_folder_are_refused(tmp_path, name):
    source = folder(tmp_path)
    (tmp_path / "out").write_text("x")
    manifest = json.loads((source / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    (source / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BrokenFolderError, match="outside the folder"):
        read_manifest(source)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": []}', '{"files": {"a": 1}}', "\x00"])
def test_a_damaged_manifest_is_named(tmp_path, text):
    source = folder(tmp_path)
    (source / "manifest.json").write_text(text)
    with pytest.raises(BrokenFolderError, match=r"no readable manifest\.json"):
        read_manifest(source)


@pytest.mark.parametrize("exchanges", [True, False])
def test_publishing_replaces_what_was_there_and_takes_no_temporaries_along(
    tmp_path, exchanges, monkeypatch
):
    if not exchanges:  # as on disks that cannot
        monkeypatch.setattr("diysink.artifact.folder.exchange", lambda one, other: False)
    source, target = folder(tmp_path), tmp_path / "target"
    publish(source, target)
    (source / "deep" / ".tmp-00000000-b").write_text("somebody is writing")
    (source / "deep" / "a.bin").unlink()
    (source / "deep" / "c.bin").write_bytes(b"new")
    write_manifest(source)
    publish(source, target)
    assert [p.name for p in (target / "deep").iterdir()] == ["c.bin"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source", "target"]


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    left = beside(path)
    left.mkdir()
    (left / "inside").write_text("x")
    beside(path).write_text("x")
    other = beside(tmp_path / "b-a.json")
    other.write_text("x")
    path.write_text("{}")
    sweep(path)
    assert sorted(tmp_path.iterdir()) == sorted([path, other])


@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "a/b", ".hidden", "", "a b", "ä", 2024, None, "a\n"]
)
def test_names_that_cannot_be_folders_are_refused(name):
    with pytest.raises(ValueError, match=r"evaluate\.variants"):
        check_name(name, "evaluate.variants")


def test_no_unit_of_work_leads_out_of_its_workspace(tmp_path):
    work = Workspace(tmp_path / "work", "stage", {})
    for name in ("/etc/x", "../x", "a/../../x", str(tmp_path / "elsewhere")):
        for use in (work.folder, work.finished, lambda name: work.finish(name, 1)):
            with pytest.raises(ValueError, match="cannot be a name"):
                use(name)
    with pytest.raises(ValueError, match="a stage"):
        Workspace(tmp_path, "../stage", {})


def test_what_is_missing_of_a_finished_unit_is_done_again(tmp_path):
    work = Workspace(tmp_path, "stage", {})
    result = work.folder("results/dual/seed0")
    (result / "deep").mkdir()
    (result / "deep" / "a").write_bytes(b"abc")
    work.finish("dual/seed0", 1, [result])
    assert work.finished("dual/seed0") == 1
    (result / "deep" / "a").write_bytes(b"ab")
    assert work.finished("dual/seed0") is None
    (result / "deep" / "a").unlink()
    assert work.finished("dual/seed0") is None


def test_clearing_a_workspace_spares_others_and_frees_it(tmp_path):
    one, other = Workspace(tmp_path, "stage", 1), Workspace(tmp_path, "stage", 2)
    one.finish("a", 1)
    other.finish("a", 2)
    one.clear()
    assert other.finished("a") == 2
    assert sorted(p.name for p in (tmp_path / "stage").iterdir()) == [
        other.key,
        f"{other.key}.lock",
    ]
    assert Workspace(tmp_path, "stage", 1).finished("a") is None


def test_what_a_killed_clearing_left_is_removed_and_never_read(tmp_path):
    work = Workspace(tmp_path, "stage", 1)
    work.finish("a", 1)
    work.path.rename(beside(work.path))  # killed just then
    del work
    again = Workspace(tmp_path, "stage", 1)
    assert again.finished("a") is None
    assert not list((tmp_path / "stage").glob(".tmp-*"))


def test_kept_workspaces_stay_locked_to_the_end_of_the_block(tmp_path):
    with keep_workspaces() as kept:
        path = Workspace(tmp_path, "stage", 1).path
        assert [work.path for work in kept] == [path]
        gc.collect()
        lock = FileLock(path.with_name(f"{path.name}.lock"))
        assert not lock.acquire(wait=False)
    gc.collect()
    assert lock.acquire(wait=False)


def test_unfinished_work_of_other_code_is_not_read(tmp_path):
    keys = set()
    for code in ("", "one", "other"):
        with keep_workspaces(code):
            keys.add(Workspace(tmp_path, "stage", 1).key)
    assert len(keys) == 3


def test_locks_exclude_and_share(tmp_path):
    path = tmp_path / "deep" / "x.lock"
    alone = FileLock(path)
    assert alone.acquire()
    assert f"process {os.getpid()} on " in holder(path)
    assert not FileLock(path).acquire(wait=False)
    assert not FileLock(path, shared=True).acquire(wait=False)
    alone.release()
    readers = [FileLock(path, shared=True) for _ in range(2)]
    assert all(reader.acquire(wait=False) for reader in readers)
    assert not FileLock(path).acquire(wait=False)
    for reader in readers:
        reader.release()
    with FileLock(path) as again:
        assert again.held
        again.release(remove=True)
    assert not path.exists()


LOCKED = """
import sys, time
from diysink.artifact import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_the_system_frees_the_lock_of_a_killed_process(tmp_path):
    command = [sys.executable, "-c", LOCKED, str(tmp_path / "x.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert not FileLock(tmp_path / "x.lock").acquire(wait=False)
        process.kill()
    assert FileLock(tmp_path / "x.lock").acquire(wait=False)


def test_who_waits_is_not_fooled_by_a_removed_file(tmp_path):
    path = tmp_path / "x.lock"
    first = FileLock(path)
    first.acquire()
    second = FileLock(path)
    waiter = threading.Thread(target=second.acquire)
    waiter.start()
    time.sleep(0.2)  # it has opened the file, and waits
    assert waiter.is_alive()
    first.release(remove=True)
    waiter.join()
    assert path.exists()
    assert not FileLock(path).acquire(wait=False), "the second holds a file that nobody sees"


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
