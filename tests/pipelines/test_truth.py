"""Which images are simple: what the miniature's generator knows, or a table says."""

import json
from pathlib import Path

import pandas as pd
import pytest

from diysink.miniature.llava import write_split
from diysink.records import ImageFile, Record, Turn, write_shards
from pipelines.evaluate.settings import Evaluate
from pipelines.evaluate.truth import find_simple_images
from pipelines.prepare.settings import Prepare
from tests.pipelines.test_conf import changed, settings_of

GENERATED = Prepare.model_validate({"generate": {"test": {"kind": "questions", "images": 12}}})


def evaluate(**simple: object) -> Evaluate:
    settings: Evaluate = settings_of("base")["evaluate"]
    return changed(settings, simple=settings.simple.model_dump() | simple)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniature")
    listing = write_split(folder, "test", kind="questions", images=12, seed=5)
    records = []
    for item in json.loads(listing.read_text())[3:]:  # the first image was quarantined
        image = ImageFile.of((folder / "images" / item["image"]).read_bytes())
        turns = tuple(Turn(turn["from"], turn["value"]) for turn in item["conversations"])
        records.append(Record(item["id"], (image,), turns, item["group"], item["subtask"]))
    write_shards(folder / "records" / "test", records)
    return folder


def test_the_generator_knows(folder: Path) -> None:
    found = find_simple_images(folder / "records", GENERATED, evaluate(), 5)
    truth = json.loads((folder / "test.truth.json").read_text())
    of = {
        ImageFile.of((folder / "images" / path).read_bytes()).sha256: len(facts["things"]) <= 4
        for path, facts in list(truth.items())[1:]
    }
    assert dict(zip(found["image"], found["simple"], strict=True)) == of
    assert set(of.values()) == {True, False}


def test_of_a_users_data_it_knows_nothing(folder: Path) -> None:
    own = changed(GENERATED, splits={"x": {"images": "x"}})
    assert find_simple_images(folder / "records", own, evaluate(), 5).empty
    nothing = changed(settings_of("base")["evaluate"], simple=None)
    assert find_simple_images(folder / "records", GENERATED, nothing, 5).empty


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_says(folder: Path, tmp_path: Path, ending: str) -> None:
    table = pd.DataFrame(
        {
            "image": ["a", "b", "c", "c"],
            "attribute": ["kind", "kind", "kind", "scene"],
            "scope": "global",
            "label": ["icon", "photo", "diagram", "icon"],
        }
    )
    path = tmp_path / f"labels.{ending}"
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    settings = evaluate(table=str(path), attribute="kind", labels=["icon", "diagram"])
    found = find_simple_images(folder / "records", GENERATED, settings, 5)
    assert found.to_dict("list") == {"image": ["a", "b", "c"], "simple": [True, False, True]}
    misspelt = evaluate(table=str(path), attribute="kind", labels=["Icon"])
    with pytest.raises(ValueError, match=r"no image of .* is Icon"):
        find_simple_images(folder / "records", GENERATED, misspelt, 5)
    other = evaluate(table=str(path), attribute="crowd")
    with pytest.raises(ValueError, match="attribute is 'crowd'"):
        find_simple_images(folder / "records", GENERATED, other, 5)
