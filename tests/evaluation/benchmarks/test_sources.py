"""Where a benchmark's files are found: its folder, the hub's cache, or a download on request."""

import json
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest

from diysink.evaluation.benchmarks import BENCHMARKS, Benchmark, llava_json
from diysink.evaluation.benchmarks.hub import hub_folder
from diysink.records import SourceError, write_shards
from tests.evaluation.benchmarks.samples import (
    b64,
    delimited,
    golden,
    image,
    lines,
    parquet,
    png,
    put,
    told,
)
from tests.evaluation.benchmarks.test_short_answers import pope_one_file, pope_rows

PUBLISHED = [row for row in BENCHMARKS.values() if row.published]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub; nothing may go over the network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def cached(cache: Path, repository: str, fill) -> Path:
    """A snapshot as huggingface_hub keeps it: links into a folder of all contents."""
    place = cache / f"datasets--{repository.replace('/', '--')}"
    commit = "0" * 40
    put(place / "refs/main", commit)
    fill(place / "blobs")
    snapshot = place / "snapshots" / commit
    for path in (place / "blobs").rglob("*.*"):
        if path.is_file():
            link = snapshot / path.relative_to(place / "blobs")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return snapshot


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.name)
def test_files_that_are_nowhere_are_asked_for_by_name(tmp_path, row):
    """One error says what is expected where, the hub's id, the licence and the size."""
    with pytest.raises(SourceError) as error:
        row.items(tmp_path)
    said = str(error.value)
    for part in (
        row.name,
        str(tmp_path),
        *row.files,
        row.hub or "",
        row.licence or "unknown",
        row.size,
    ):
        assert part in said
    assert "verified" in said


def test_a_wrong_split_is_the_same_error(tmp_path):
    pope_one_file(tmp_path)
    assert len(BENCHMARKS["pope"].items(tmp_path)) == 3
    (tmp_path / "data/test-00000-of-00001.parquet").rename(tmp_path / "data/train-0.parquet")
    with pytest.raises(SourceError, match=r"test-\*\.parquet"):
        BENCHMARKS["pope"].items(tmp_path)


def test_files_of_the_folder_come_before_those_of_the_cache(tmp_path, cache):
    cached(cache, BENCHMARKS["pope"].hub, pope_one_file)
    here = tmp_path / "pope"
    items = BENCHMARKS["pope"].items(here)
    assert len(items) == 3
    parquet(here / "data/test-0.parquet", list(pope_rows())[:1])
    assert len(BENCHMARKS["pope"].items(here)) == 1


def test_images_that_the_cache_links_to_are_read(cache, tmp_path):
    def fill(folder):
        row = {"image": "direct_attributes/a.png", "category": "direct_attributes"}
        row |= {"question_id": "0", "label": "B", "text": "Which?\n(A) one\n(B) two"}
        lines(folder / "test_questions.jsonl", [row])
        put(folder / "direct_attributes/a.png", png(3))

    cached(cache, BENCHMARKS["vstar"].hub, fill)
    [item] = [BENCHMARKS["vstar"].items(tmp_path)[0]]
    assert told(item)["images"] == [3]


def test_nothing_is_downloaded_unless_it_is_asked_for(monkeypatch, tmp_path):
    asked = []

    def snapshot_download(repository, **settings):
        asked.append((repository, settings["revision"], settings["local_files_only"]))
        assert settings["repo_type"] == "dataset"
        assert settings["allow_patterns"] == ["Full/*"]
        if settings["local_files_only"]:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        pope_one_file(tmp_path / "snapshot")
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(SourceError):
        BENCHMARKS["pope"].items(tmp_path / "none")
    assert len(BENCHMARKS["pope"].items(tmp_path / "none", download=True)) == 3
    pinned = replace(BENCHMARKS["pope"], hub="me/mine@abc")
    assert len(pinned.items(tmp_path / "none", download=True)) == 3
    hub = BENCHMARKS["pope"].hub
    assert asked == [(hub, None, True), (hub, None, False), ("me/mine", "abc", False)]


def test_a_hub_that_cannot_be_reached_says_so():
    assert hub_folder("someone/nothing") is None
    assert hub_folder("someone/nothing", download=True) is None  # offline is set above


MISSING = [
    ("question", "no question"),
    ("answer", "no answer"),
    ("image", "no image"),
]


@pytest.mark.parametrize(("column", "said"), MISSING)
def test_a_column_that_is_missing_is_named(tmp_path, column, said):
    rows = [{k: v for k, v in row.items() if k != column} for row in pope_rows()]
    parquet(tmp_path / "data/test-0.parquet", rows)
    with pytest.raises(SourceError, match=said):
        BENCHMARKS["pope"].items(tmp_path)


def test_a_missing_or_broken_image_is_named_with_its_row(tmp_path):
    rows = [{"id": "a", "question": "Q?", "image": image(1), "answer": "yes"}] * 2
    rows[1] = rows[1] | {"image": {"bytes": png(1)[:45], "path": None}}
    rows = [row | {"question_id": "1", "category": "random"} for row in rows]
    parquet(tmp_path / "data/test-0.parquet", rows)
    items = BENCHMARKS["pope"].items(tmp_path)
    assert items[0].id == "random-1"
    with pytest.raises(SourceError, match=r"row 1: broken_image"):
        items[1]
    put(tmp_path / "v/val.json", [{"image": "none.jpg", "question": "Q?", "answers": []}])
    with pytest.raises(SourceError, match=r"row 0: missing_file: 'none.jpg'"):
        BENCHMARKS["vizwiz"].items(tmp_path / "v")[0]


def test_answers_that_are_not_public_are_asked_for(tmp_path):
    row = {"index": 1, "question": "Q?", "hint": "", "A": "x", "B": "y", "answer": ""}
    delimited(tmp_path / "mmbench_dev_20230712.tsv", [row | {"category": "c", "image": b64(1)}])
    with pytest.raises(SourceError, match="row 0"):
        BENCHMARKS["mmbench"].items(tmp_path)[0]
    put(tmp_path / "val.json", [{"image": "a.png", "question": "Q?", "answers": []}])
    put(tmp_path / "val/a.png", png(1))
    with pytest.raises(SourceError, match="not public"):
        BENCHMARKS["vizwiz"].items(tmp_path)[0]


MINE = Benchmark("mine", split="street", metric="contains", load=llava_json)


def test_dialogues_of_llava(tmp_path):
    turns = [{"from": "human", "value": "<image>\nWhich?"}, {"from": "gpt", "value": "red"}]
    two = [{"from": "human", "value": "<image>or<image>?"}, {"from": "gpt", "value": "one"}]
    more = {"answers": ["red", "dark red"], "group": "local", "subtask": "colour", "unit": "u"}
    items = [
        {"id": 1, "image": "a.png", "conversations": turns, **more, "details": {"n": 1}},
        {"id": "2", "image": ["a.png", "sub/b.png"], "conversations": two},
    ]
    put(tmp_path / "street.json", items)
    put(tmp_path / "images/a.png", png(1))
    put(tmp_path / "images/sub/b.png", png(2))
    found = MINE.items(tmp_path)
    assert [told(found[number]) for number in range(2)] == [
        golden(
            "1",
            [1],
            "<image>\nWhich?",
            "red",
            answers=("red", "dark red"),
            group="local",
            subtask="colour",
            unit="u",
            details={"n": 1},
        ),
        golden("2", [1, 2], "<image>or<image>?", "one"),
    ]


def test_question_files_of_llava(tmp_path):
    lines(
        tmp_path / "street.jsonl",
        [
            {"question_id": 7, "image": "a.png", "text": "Which?", "answer": "red"},
            {"question_id": 8, "image": "a.png", "text": "Which?", "answers": ["a", "b"]},
            {"question_id": 9, "image": "a.png", "text": "Which?"},
        ],
    )
    put(tmp_path / "a.png", png(1))
    found = MINE.items(tmp_path)
    assert told(found[0]) == golden("7", [1], "<image>\nWhich?", "red")
    assert told(found[1]) == golden("8", [1], "<image>\nWhich?", "a", answers=("a", "b"))
    with pytest.raises(SourceError, match="row 2: empty_answer"):
        found[2]


@pytest.mark.parametrize(
    "change",
    [
        {"conversations": []},
        {"image": "../a.png"},
        {"group": "huge"},
        {"details": [1]},
        {"image": None},
        {"options": "AB"},
    ],
)
def test_what_is_wrong_with_an_item_of_llava_is_named(tmp_path, change):
    turns = [{"from": "human", "value": "<image>\nWhich?"}, {"from": "gpt", "value": "red"}]
    item = {"id": 1, "image": "a.png", "conversations": turns}
    put(tmp_path / "street.json", json.dumps([item, item | change]))
    put(tmp_path / "a.png", png(1))
    found = MINE.items(tmp_path)
    assert found[0].id == "1"
    with pytest.raises(SourceError, match="row 1"):
        found[1]


def test_every_published_item_can_be_written_as_a_record(tmp_path):
    pope_one_file(tmp_path)
    items = BENCHMARKS["pope"].items(tmp_path)
    manifest = write_shards(tmp_path / "shards", [items[number] for number in range(len(items))])
    assert manifest["records"] == 3
