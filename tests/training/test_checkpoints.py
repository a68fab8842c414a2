"""A checkpoint that was cut off or damaged is set aside; the one before it is used."""

import errno
import os

import pytest
import torch

from diysink.training.checkpoints import AtomicCheckpointIO, newest


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
