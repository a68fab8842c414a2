import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diysink.miniature.llava import scenes, write_split
from diysink.miniature.world import CELL, GRID, PLAIN_GREY


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_split(folder, "train", kind="train", images=8, seed=0)
    write_split(folder, "align", kind="align", images=8, seed=0)
    write_split(folder, "test", kind="questions", images=8, seed=0)
    write_split(folder, "reweight", kind="questions", images=9, questions=1, seed=0)
    return folder


def read(directory: Path, name: str) -> list[dict[str, Any]]:
    return json.loads((directory / f"{name}.json").read_text())


@pytest.mark.parametrize("name", ["train", "align", "test", "reweight"])
def test_records_are_llavas(directory: Path, name: str) -> None:
    records = read(directory, name)
    assert len({record["id"] for record in records}) == len(records)
    for record in records:
        speakers = [turn["from"] for turn in record["conversations"]]
        assert speakers == ["human", "gpt"] * (len(speakers) // 2)
        texts = [turn["value"] for turn in record["conversations"]]
        assert texts[0].startswith("<image>\n")
        assert sum("<image>" in text for text in texts) == 1
        assert all(text.strip() for text in texts)
        with Image.open(directory / "images" / record["image"]) as image:
            assert (image.format, image.size, image.mode) == ("PNG", (48, 48), "RGB")


def test_splits_share_no_image(directory: Path) -> None:
    files = list((directory / "images").rglob("*.png"))
    assert len(files) == 33
    assert len({hashlib.sha256(file.read_bytes()).digest() for file in files}) == 33


def test_questions_carry_group_and_subtask(directory: Path) -> None:
    test, reweight = read(directory, "test"), read(directory, "reweight")
    assert [record["group"] for record in test] == ["global", "local", "mixed"] * 8
    assert [record["group"] for record in reweight] == ["global", "local", "mixed"] * 3
    for record in test:
        assert record["id"].endswith(f"-{record['group']}-{record['subtask']}")


def test_training_conversations_hold_the_routing_questions(directory: Path) -> None:
    answers = {
        turn["value"]
        for record in read(directory, "train")
        for turn in record["conversations"]
        if turn["from"] == "gpt"
    }
    assert answers & {"simple", "complex"}
    assert answers & {"whole", "detail", "both"}


def test_the_truth_lies_beside(directory: Path) -> None:
    truth = json.loads((directory / "test.truth.json").read_text())
    for name, facts in truth.items():
        pixels = np.asarray(Image.open(directory / "images" / name))
        cells = pixels.reshape(GRID, CELL, GRID, CELL, 3)
        grey = np.argwhere((cells == PLAIN_GREY).all(axis=(1, 3, 4)))
        assert grey.tolist() == facts["plain"]


def test_the_seed_decides_every_byte(directory: Path, tmp_path: Path) -> None:
    write_split(tmp_path, "test", kind="questions", images=8, seed=0)
    assert (tmp_path / "test.json").read_bytes() == (directory / "test.json").read_bytes()
    name = "images/test/test-000003.png"
    assert (tmp_path / name).read_bytes() == (directory / name).read_bytes()


def test_a_longer_split_starts_with_the_shorter() -> None:
    few, many = ([scene for scene, _ in scenes("train", count, 0)] for count in (3, 5))
    assert many[:3] == few
    assert [scene for scene, _ in scenes("train", 3, 1)] != few


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind is 'exam'"):
        write_split(tmp_path, "x", kind="exam", images=1, seed=0)
    with pytest.raises(ValueError, match="at least 1"):
        write_split(tmp_path, "x", kind="train", images=0, seed=0)
