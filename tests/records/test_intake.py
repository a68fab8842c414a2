"""A hostile data set: what is taken, what is quarantined and why, and what a kill costs."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diysink.artifact import Workspace, read_manifest
from diysink.engine import LocalEngine
from diysink.records import (
    ImageFile,
    ImageLimits,
    Reason,
    Records,
    SourceError,
    intake,
    open_source,
    take_in,
)
from diysink.records.rejection import Rejection
from tests.engine.posted import Posted

TRUNCATED = "truncated.jpg"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, picture, encoded, item):
    """A data set with every case at once: its folder, and what is expected of each item."""
    root = tmp_path_factory.mktemp("hostile")
    images = root / "images"
    images.mkdir()
    (root / "secret.png").write_bytes(picture())
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    jpeg = encoded(Image.fromarray(noise), "JPEG")
    files = {
        "red.png": picture(),
        "gif.jpg": picture(form="GIF"),
        TRUNCATED: jpeg[: len(jpeg) // 2],
        "empty.png": b"",
        "text.jpg": b"not found",
        "tiny.gif": picture(size=(1, 1), form="GIF"),
    }
    for name, data in files.items():
        (images / name).write_bytes(data)
    (images / "link.png").symlink_to(root / "secret.png")
    swapped = [{"from": "gpt", "value": "hi"}, {"from": "human", "value": "<image>"}]
    cases = [
        (item(id="good"), None),
        (item(id="gif", image="gif.jpg"), None),
        (item(id="unicode 漢字 🙂"), None),
        (item(id=7), None),
        (item(id="good"), Reason.DUPLICATE_ID),
        (item(id="truncated", image=TRUNCATED), Reason.BROKEN_IMAGE),
        (item(id="truncated"), Reason.DUPLICATE_ID),
        (item(id="empty", image="empty.png"), Reason.EMPTY_FILE),
        (item(id="text", image="text.jpg"), Reason.NOT_AN_IMAGE),
        (item(id="tiny", image="tiny.gif"), Reason.IMAGE_TOO_SMALL),
        (item(id="missing", image="none.png"), Reason.MISSING_FILE),
        (item(id="absolute", image="/etc/hostname"), Reason.ABSOLUTE_PATH),
        (item(id="parent", image="../secret.png"), Reason.PATH_OUTSIDE),
        (item(id="link", image="link.png"), Reason.LINK_OUTSIDE),
        (item(id="nan", image=float("nan")), Reason.NAN),
        (item(id="order", conversations=swapped), Reason.TURN_ORDER),
        (item(id=""), Reason.MISSING_ID),
        ("not an object", Reason.NOT_AN_OBJECT),
        (item(id="last"), None),
    ]
    (root / "data.json").write_text(json.dumps([given for given, _ in cases]))
    return root, cases


def take(root: Path, work: Path, engine=None, **options) -> intake.Intake:
    source = open_source(root / "data.json", root / "images")
    return take_in(source, Workspace(work, "prepare", options), "train", engine=engine, **options)


@pytest.mark.parametrize("size", [3, 1024])
def test_every_item_is_taken_or_listed_with_its_reason(hostile, tmp_path, size):
    root, cases = hostile
    taken = take(root, tmp_path, records_per_shard=size)
    found = {r.index: r.reason for r in taken.rejections}
    assert found == {i: reason for i, (_, reason) in enumerate(cases) if reason}
    assert [r.id for r in taken.rejections if r.index in (4, 5, 16, 17)] == [
        "good",
        "truncated",
        None,
        None,
    ]
    records = Records(taken.folder)
    assert [r.id for r in records] == ["good", "gif", "unicode 漢字 🙂", "7", "last"]
    assert records[1].images[0].format == "GIF"
    assert records[0].images[0].data == (root / "images/red.png").read_bytes()
    assert (taken.items, taken.records) == (len(cases), 5)


def test_repeated_ids_can_be_numbered(tmp_path, item, picture):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/red.png").write_bytes(picture())
    items = [item(id=name) for name in ("a", "a", "a#2", "b", "a")]
    (tmp_path / "data.json").write_text(json.dumps(items))
    taken = take(tmp_path, tmp_path / "work", duplicate_ids="number")
    ids = [record.id for record in Records(taken.folder)]
    assert ids == ["a", "a#2", "a#2#2", "b", "a#3"]
    assert not taken.rejections


def test_a_plain_folder_of_pictures(hostile, tmp_path):
    root, _ = hostile
    source = open_source(None, root / "images")
    taken = take_in(source, Workspace(tmp_path, "prepare", {}), "train")
    records = list(Records(taken.folder))
    assert [r.id for r in records] == ["gif.jpg", "red.png"]
    assert all(r.conversations == () and len(r.images) == 1 for r in records)
    assert Counter(r.reason for r in taken.rejections) == Counter(
        [
            Reason.EMPTY_FILE,
            Reason.LINK_OUTSIDE,
            Reason.NOT_AN_IMAGE,
            Reason.IMAGE_TOO_SMALL,
            Reason.BROKEN_IMAGE,
        ]
    )


def test_workers_change_nothing(hostile, tmp_path):
    root, _ = hostile
    one = take(root, tmp_path / "1", records_per_shard=4)
    three = take(root, tmp_path / "3", records_per_shard=4, engine=LocalEngine(3))
    posted = Posted()
    last_first = take(root, tmp_path / "posted", records_per_shard=4, engine=posted)
    assert one.rejections == three.rejections == last_first.rejections
    assert len({Records(taken.folder).digest for taken in (one, three, last_first)}) == 1
    assert posted.sent == len(list(one.folder.glob("*.parquet"))) > 1


def test_workers_have_no_torch():
    """Which, with transformers, would be most of each one's memory."""
    code = "import sys, diysink.records, diysink.engine; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_a_shard_holds_so_many_bytes_of_images_at_most(tmp_path, monkeypatch, item, picture):
    """Where a source has the images in it, and not in files, a shard of them is held in memory."""
    data = picture()
    monkeypatch.setattr(intake, "_MAX_HELD", 3 * len(data))
    rows = [item(id=f"{n}", image=data) for n in range(8)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data.parquet")
    (tmp_path / "images").mkdir()
    source = open_source(tmp_path / "data.parquet", tmp_path / "images")
    taken = take_in(source, Workspace(tmp_path, "prepare", {}), "train", records_per_shard=5)
    assert [shard["records"] for shard in read_manifest(taken.folder)["shards"]] == [3, 3, 2]


def test_long_ids_are_told_apart(tmp_path, item):
    ids = ["a" * 3000, "a" * 3000 + "b", "a" * 3000]
    (tmp_path / "images").mkdir()
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    items = [item(id=each, image=None, conversations=turns) for each in ids]
    (tmp_path / "data.json").write_text(json.dumps(items))
    taken = take(tmp_path, tmp_path / "work")
    assert [(r.index, r.reason) for r in taken.rejections] == [(2, Reason.DUPLICATE_ID)]


class Killed(BaseException):
    pass


@pytest.fixture
def decoded(monkeypatch):
    """How many images were decoded."""
    calls = []

    def of(data, limits, of=ImageFile.of):
        calls.append(data)
        return of(data, limits)

    monkeypatch.setattr(ImageFile, "of", of)
    return calls


def test_a_killed_run_goes_on_where_it_was(hostile, tmp_path, monkeypatch, decoded):
    root, _ = hostile
    whole = take(root, tmp_path / "whole", records_per_shard=3)
    work = len(decoded)
    decoded.clear()

    def write_then_die(path, records, write=intake.write_shard):
        if path.name == "part-00003.parquet":
            next(iter(records), None)
            raise Killed
        return write(path, records)

    with monkeypatch.context() as patch:
        patch.setattr(intake, "write_shard", write_then_die)
        with pytest.raises(Killed):
            take(root, tmp_path / "cut", records_per_shard=3)
    lost = len(decoded)
    decoded.clear()
    resumed = take(root, tmp_path / "cut", records_per_shard=3)
    assert 0 < len(decoded) < work
    assert len(decoded) + lost <= work + 3
    assert resumed.rejections == whole.rejections
    assert Records(resumed.folder).digest == Records(whole.folder).digest
    decoded.clear()
    assert take(root, tmp_path / "cut", records_per_shard=3) == resumed
    assert not decoded


def test_an_image_that_changed_in_between_is_read_again(tmp_path, item, picture, decoded):
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a", "b"):
        (images / f"{name}.png").write_bytes(picture("red"))
    items = [item(id=name, image=f"{name}.png") for name in ("a", "b")]
    (tmp_path / "data.json").write_text(json.dumps(items))
    first = Records(take(tmp_path, tmp_path / "work", records_per_shard=1).folder).digest
    decoded.clear()
    (images / "b.png").write_bytes(picture("blue"))
    os.utime(images / "b.png", (1, 1))
    again = Records(take(tmp_path, tmp_path / "work", records_per_shard=1).folder)
    assert decoded == [picture("blue")]
    assert again.digest != first


@pytest.mark.parametrize("accident", ["flipped", "gone", "shorter"])
def test_a_finished_shard_that_was_damaged_is_written_again(hostile, tmp_path, decoded, accident):
    root, _ = hostile
    first = take(root, tmp_path, records_per_shard=3)
    digest = Records(first.folder).digest
    part = first.folder / "part-00000.parquet"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.unlink()
    if accident != "gone":
        part.write_bytes(data if accident == "flipped" else data[:-1])
    decoded.clear()
    again = take(root, tmp_path, records_per_shard=3)
    assert len(decoded) == 3  # of this shard alone
    assert again == first
    assert Records(again.folder).digest == digest


def test_all_images_of_an_item_are_limited_together(tmp_path, item, picture):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/red.png").write_bytes(picture())
    size = len(picture())
    turns = [{"from": "human", "value": "<image>" * 3}, {"from": "gpt", "value": "red"}]
    three = item(image=["red.png"] * 3, conversations=turns)
    (tmp_path / "data.json").write_text(json.dumps([three, item(id="b")]))
    for most, expected in ((3 * size, []), (3 * size - 1, [Reason.FILE_TOO_LARGE])):
        limits = ImageLimits(max_bytes=most)
        source = open_source(tmp_path / "data.json", tmp_path / "images")
        work = Workspace(tmp_path / str(most), "prepare", {})
        taken = take_in(source, work, "train", limits=limits)
        assert [r.reason for r in taken.rejections] == expected


def test_megabytes_of_text_are_never_repeated_in_the_quarantine(tmp_path, item):
    long = "x" * 2**20
    items = [
        item(id=long),
        item(id="b", image=long),
        item(id="c", group=long),
        item(id="d", conversations=long),
        item(id="e", conversations=[long]),
        item(id="f", conversations=[{"from": long, "value": long}]),
        item(id="g", **{"video": long}),
        item(id="h", image=[long] * 3),
        item(id="i", subtask={long: long}),
        [long],
        long,
    ]
    (tmp_path / "images").mkdir()
    (tmp_path / "data.json").write_text(json.dumps(items))
    taken = take(tmp_path, tmp_path / "work")
    assert len(taken.rejections) == len(items)
    assert max(len(r.detail) + len(r.id or "") for r in taken.rejections) < 600
    done = sum(p.stat().st_size for p in (tmp_path / "work").rglob("*.json"))
    assert done < 20_000


def test_too_many_bad_items_stop_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "MAX_REJECTIONS", 10)
    (tmp_path / "images").mkdir()
    (tmp_path / "data.json").write_text(json.dumps([0] * 100))
    with pytest.raises(SourceError, match=r"11 of the first 11 items.*not_an_object"):
        take(tmp_path, tmp_path / "work", records_per_shard=1)


def test_a_source_that_became_shorter_leaves_nothing_behind(tmp_path, item, picture):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/red.png").write_bytes(picture())
    for ids in ("abc", "a"):
        (tmp_path / "data.json").write_text(json.dumps([item(id=i) for i in ids]))
        taken = take(tmp_path, tmp_path / "work", records_per_shard=1)
        assert len(Records(taken.folder)) == len(ids)
        assert len(list(taken.folder.glob("*.parquet"))) == len(ids)


def test_a_shard_of_bad_items_only(hostile, tmp_path, item):
    root, _ = hostile
    items = [item(id="x", image="none.png"), item(id="y")]
    (tmp_path / "data.json").write_text(json.dumps(items))
    source = open_source(tmp_path / "data.json", root / "images")
    taken = take_in(source, Workspace(tmp_path, "p", {}), "train", records_per_shard=1)
    assert [r.id for r in Records(taken.folder)] == ["y"]
    assert taken.rejections == (
        Rejection("x", 0, Reason.MISSING_FILE, "'none.png' is not in the image folder"),
    )


def test_an_empty_source_and_wrong_options(hostile, tmp_path):
    (tmp_path / "data.json").write_text("[]")
    (tmp_path / "images").mkdir()
    with pytest.raises(SourceError, match="empty"):
        take(tmp_path, tmp_path / "work")
    for wrong in ({"duplicate_ids": "drop"}, {"records_per_shard": 0}):
        source = open_source(tmp_path / "data.json", tmp_path / "images")
        with pytest.raises(ValueError, match=r"quarantine|at least 1"):
            take_in(source, Workspace(tmp_path, "p", {}), "train", **wrong)


def test_the_guide_explains_every_reason():
    guide = Path(__file__).parents[2] / "docs/guides/your-data.md"
    explained = {line.split("`")[1] for line in guide.read_text().splitlines() if line[:3] == "| `"}
    assert explained == {str(reason) for reason in Reason}
