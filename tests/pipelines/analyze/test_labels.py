"""Labels of images as a node: answers of the records, a table, and the miniature's own."""

import json

from diysink.miniature.llava import write_split
from diysink.miniature.world import GRID
from diysink.records import ImageFile, Record, Turn, write_shards
from pipelines.analyze.labels import label_images
from pipelines.prepare.settings import Prepare
from tests.pipelines.analyze.conftest import analyze_of, boxed, labels_of, parts_once
from tests.pipelines.test_conf import changed

LABELS = {"split": "test", "groups": ["global"], "table": None}
GENERATED = Prepare.model_validate({"generate": {"test": {"kind": "questions", "images": 3}}})


@parts_once
def test_answers_of_the_records_are_labels_and_a_table_has_more(stage, tiny_records):
    assert len(labels_of(stage)) == 8
    boxed(tiny_records, 0.7).to_csv(stage / "labels.csv", index=False)
    labels = labels_of(stage, table=str(stage / "labels.csv"))
    assert labels.groupby("attribute").size().to_dict() == {"scene": 8, "shape": 16}


@parts_once
def test_without_labels_nothing_is_known(stage):
    assert label_images(stage / "records", GENERATED, analyze_of(), 0).empty


def test_the_miniatures_labels_are_what_its_own_truth_says(tmp_path):
    listing = write_split(tmp_path, "test", kind="questions", images=3, seed=5, questions=3)
    records, image_of = [], {}
    for item in json.loads(listing.read_text()):
        image = ImageFile.of((tmp_path / "images" / item["image"]).read_bytes())
        image_of[item["image"]] = image.sha256
        turns = tuple(Turn(turn["from"], turn["value"]) for turn in item["conversations"])
        records.append(Record(item["id"], (image,), turns, item["group"], item["subtask"]))
    write_shards(tmp_path / "records" / "test", records)
    analyze = analyze_of(labels=LABELS | {"table": "miniature"})
    made = label_images(tmp_path / "records", GENERATED, analyze, 5)
    truth = json.loads((tmp_path / "test.truth.json").read_text())
    for path, facts in truth.items():
        mine = made[made["image"] == image_of[path]]
        whole = mine[mine["scope"] == "global"].set_index("attribute")["label"]
        assert whole["scene"] == facts["texture"]
        assert whole["lighting"] == facts["lighting"]
        assert whole["majority"] == facts["majority"]
        assert whole["crowd"] == facts["crowd"]
        assert (whole["symmetry"] == "symmetric") == facts["mirrored"]
        shapes = mine[mine["attribute"] == "shape"]
        assert {
            (round(row.top * GRID), round(row.left * GRID), row.label)
            for row in shapes.itertuples()
        } == {(thing["row"], thing["column"], thing["shape"]) for thing in facts["things"]}
    other = label_images(
        tmp_path / "records", changed(GENERATED, splits={"x": {"images": "x"}}), analyze, 5
    )
    assert set(other["scope"]) == {"global"}  # the data are someone's own: answers alone
