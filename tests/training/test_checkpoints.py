"""A checkpoint that was cut off or damaged is set aside; the one before it is used."""

import errno
import os

import pytest
import torch
import torch.distributed.checkpoint

from diysink.training.checkpoints import REST, AtomicCheckpointIO, newest


def save(path, step):
    AtomicCheckpointIO().save_checkpoint({"step": step, "state": torch.arange(20_000) + step}, path)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    "damage", [cut, flip, lambda data: b"", lambda data: b"version https://git-lfs.github.com/"]
)
def test_a_damaged_checkpoint_is_set_aside(tmp_path, damage):
    for step in (9, 100):
        save(tmp_path / f"step={step}.ckpt", step)
    last = tmp_path / "step=100.ckpt"
    last.write_bytes(damage(last.read_bytes()))
    found = newest(tmp_path)
    assert found == tmp_path / "step=9.ckpt"
    assert torch.load(found, weights_only=True)["step"] == 9
    assert names(tmp_path) == ["step=100.ckpt.broken", "step=9.ckpt"]
    found.write_bytes(damage(found.read_bytes()))
    assert newest(tmp_path) is None


def test_the_newest_is_the_one_with_most_steps(tmp_path):
    assert newest(tmp_path) is None
    for name in ("step=9", "step=100", "step=100-v1", "step=20"):
        save(tmp_path / f"{name}.ckpt", 1)
    assert newest(tmp_path).name == "step=100-v1.ckpt"


def test_a_full_disk_leaves_the_checkpoint_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "step=9.ckpt"
    save(path, 9)
    real = torch.save

    def full(value, target):
        real(value, target)
        with target.open("r+b") as file:
            file.truncate(100)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        save(path, 10)
    assert torch.load(newest(tmp_path), weights_only=True)["step"] == 9
    assert names(tmp_path) == ["step=9.ckpt"]


def save_parts(folder, step):
    """As FSDP2 does, in one process."""
    torch.distributed.checkpoint.save({"state": torch.arange(9) + step}, checkpoint_id=folder)
    torch.save({"step": step}, folder / REST)


ALONE = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")  # what it says of it


@ALONE
@pytest.mark.parametrize("part", ["__0_0.distcp", ".metadata", REST])
@pytest.mark.parametrize("damage", [cut, None])
def test_a_sharded_checkpoint_is_whole_or_set_aside(tmp_path, part, damage):
    for step in (9, 100):
        save_parts(tmp_path / f"step={step}.ckpt", step)
    last = tmp_path / "step=100.ckpt"
    assert newest(tmp_path) == last
    if damage is None:
        (last / part).unlink()
    else:
        (last / part).write_bytes(damage((last / part).read_bytes()))
    assert newest(tmp_path) == tmp_path / "step=9.ckpt"
    assert names(tmp_path) == ["step=100.ckpt.broken", "step=9.ckpt"]


@ALONE
def test_a_checkpoint_is_removed_file_or_folder(tmp_path):
    save(tmp_path / "step=1.ckpt", 1)
    save_parts(tmp_path / "step=2.ckpt", 2)
    for path in list(tmp_path.iterdir()):
        AtomicCheckpointIO().remove_checkpoint(path)
    assert names(tmp_path) == []
