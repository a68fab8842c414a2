"""Shards give the same statistics wherever and however often they are started."""

import hashlib
import io
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from diysink.artifact import Workspace
from diysink.device import resolve_device
from diysink.extraction import ShardSpec, Task, encode_shard, first_image, run_shards, shards, split
from diysink.records import ImageFile, Record, Records, write_shards
from diysink.sinks import Layout, total

RECORDS = 22


def image(seed):
    values = np.random.default_rng(seed).integers(0, 256, (30, 26, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    data = file.getvalue()
    return ImageFile(data, hashlib.sha256(data).hexdigest(), "PNG", 26, 30)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Records with 0, 1, 2, 0, 1, 2, ... images."""
    folder = tmp_path_factory.mktemp("records")
    write_shards(
        folder,
        [
            Record(f"r{index}", tuple(image(3 * index + k) for k in range(index % 3)), ())
            for index in range(RECORDS)
        ],
    )
    return folder


@pytest.fixture(scope="module")
def specs(records, towers):
    task = Task(str(records), str(towers["clip"]), device="cpu", batch_size=4)
    return split(task, Layout(3, 3, 32, replicates=10), RECORDS, 5)


def test_every_record_is_in_one_shard(specs):
    assert [(spec.start, spec.stop) for spec in specs] == [
        (0, 5),
        (5, 10),
        (10, 15),
        (15, 20),
        (20, 22),
    ]
    sparse = split(specs[0].task, specs[0].layout, RECORDS, 3, every=4)
    places = [i for spec in sparse for i in range(spec.start, spec.stop, spec.step)]
    assert places == list(range(0, RECORDS, 4))
    with pytest.raises(ValueError, match="must be at least 1"):
        split(specs[0].task, specs[0].layout, RECORDS, 0)


def test_every_image_counts(specs):
    statistics = encode_shard(replace(specs[0], stop=RECORDS))
    assert statistics.images == sum(index % 3 for index in range(RECORDS))
    assert encode_shard(replace(specs[0], stop=1)).images == 0


def test_any_order_and_twice_the_same(specs, tmp_path):
    forward = total((encode_shard(spec) for spec in specs), specs[0].layout)
    backward = total((encode_shard(spec) for spec in reversed(specs)), specs[0].layout)
    assert forward.digest == backward.digest
    assert run_shards(specs, Workspace(tmp_path, "a", 1)).digest == forward.digest
    assert torch.get_num_threads() >= 1


def test_a_finished_shard_is_never_redone(specs, tmp_path, monkeypatch):
    whole = run_shards(specs, Workspace(tmp_path, "whole", 1)).digest
    done: list[ShardSpec] = []

    def until_the_third(spec):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(spec)
        return encode_shard(spec)

    work = Workspace(tmp_path, "interrupted", 1)
    monkeypatch.setattr(shards, "encode_shard", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        run_shards(specs, work)
    again: list[ShardSpec] = []
    monkeypatch.setattr(
        shards, "encode_shard", lambda spec: again.append(spec) or encode_shard(spec)
    )
    assert run_shards(specs, work).digest == whole
    assert done + again == list(specs)


SCRIPT = """
import json, sys
from diysink.artifact import Workspace
from diysink.engine import LocalEngine
from diysink.extraction import ShardSpec, Task, run_shards
from diysink.sinks import Layout

if __name__ == "__main__":
    task, layout, places = json.loads(sys.argv[1])
    specs = [ShardSpec(Task(**task), Layout(**layout), *place) for place in places]
    run_shards(specs, Workspace(sys.argv[2], "killed", 1), LocalEngine(2))
"""


def finished_units(stage: Path) -> list[Path]:
    """Records of finished units; a killed write leaves a temporary file, which is none."""
    return [p for p in stage.glob("*/*.done.json") if not p.name.startswith(".tmp-")]


@pytest.mark.slow
def test_workers_and_a_killed_driver(specs, tmp_path, monkeypatch):
    """kill -9 after the first shard: no worker stays, the rest is done here, to the same bits."""
    task, layout = specs[0].task, specs[0].layout
    many = [replace(spec, stop=spec.start + 1) for spec in specs] + list(specs)
    places = [(spec.start, spec.stop) for spec in many]
    path = tmp_path / "drive.py"
    path.write_text(SCRIPT)
    arguments = json.dumps([vars(task), layout.to_dict(), places])
    driver = subprocess.Popen([sys.executable, path, arguments, tmp_path / "work"])
    stage = tmp_path / "work" / "killed"  # the driver's own until it dies
    started = time.monotonic()
    while not finished_units(stage):
        assert driver.poll() is None
        assert time.monotonic() - started < 200
        time.sleep(0.02)
    workers = [each.pid for each in psutil.Process(driver.pid).children(recursive=True)]
    assert len(workers) >= 3  # two, and loky's own tracker
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    finished = {file.name: file.read_bytes() for file in finished_units(stage)}

    work = Workspace(tmp_path / "work", "killed", 1)
    computed: list[ShardSpec] = []
    monkeypatch.setattr(
        shards, "encode_shard", lambda spec: computed.append(spec) or encode_shard(spec)
    )
    resumed = run_shards(many, work)
    assert len(computed) == len(many) - len(finished)
    assert all((work.path / name).read_bytes() == data for name, data in finished.items())
    assert resumed.digest == run_shards(many, Workspace(tmp_path, "here", 1)).digest
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() - started < 200, "a worker outlived its driver"
        time.sleep(0.1)


def test_the_first_image(records, tmp_path):
    assert first_image(Records(records)) == image(3)
    write_shards(tmp_path, [Record("none", (), ())])
    with pytest.raises(ValueError, match="None of the 1 records has an image"):
        first_image(Records(tmp_path))


def test_no_shard_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no shards"):
        run_shards([], Workspace(tmp_path, "empty", 1))


@pytest.mark.parametrize("wrong", [{"dtype": "float8"}, {"batch_size": 0}, {"threads": 0}])
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        Task("records", "encoder", **wrong)


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="finds no NVIDIA GPU"):
            resolve_device("cuda:1")
