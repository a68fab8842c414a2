"""What tokens carry, as nodes: on a tiny random model, and the miniature's own labels."""

import json

import pandas as pd
import pytest

from diysink.artifact import write_manifest
from diysink.claims import over_masks
from diysink.miniature.llava import write_split
from diysink.miniature.world import GRID
from diysink.records import ImageFile, Record, Turn, write_shards
from pipelines.analyze.carries import isolate_words, map_relevance, probe_tokens
from pipelines.analyze.labels import label_images
from pipelines.analyze.sweep import sweep_tau
from pipelines.prepare.settings import Prepare
from tests.pipelines.analyze.conftest import PLACE
from tests.pipelines.test_conf import changed

IMAGES = PLACE | {"images": 14, "batch": 5}
ANALYZE = {
    "level": 0.9,
    "resamples": 50,
    "labels": {"split": "test", "groups": ["global"], "table": None},
    "probes": IMAGES | {"folds": 2, "ridge": 1.0, "layers": None},
    "relevance": IMAGES | {"examples": 2},
    "words": IMAGES | {"top": 3, "rows": 4},
}
GENERATED = Prepare.model_validate({"generate": {"test": {"kind": "questions", "images": 3}}})
parts_once = pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)


def labels_of(stage, **other):
    asked = ANALYZE["labels"] | other
    return label_images(stage / "records", GENERATED, ANALYZE | {"labels": asked}, 0)


def boxed(records, size):
    return pd.DataFrame(
        [
            {
                "image": record.images[0].sha256, "attribute": "shape", "scope": "local",
                "label": "ef"[i % 2], "top": 0.0, "left": 0.0, "bottom": size, "right": size,
            }
            for i, record in enumerate(records)
        ]
    )  # fmt: skip


@parts_once
def test_the_analyses_run_on_labels_of_records_and_of_a_table(stage, ask, tiny_records):
    told = labels_of(stage)
    assert len(told) == 8
    boxes = boxed(tiny_records, 0.7)
    boxes.to_csv(stage / "labels.csv", index=False)
    labels = labels_of(stage, table=str(stage / "labels.csv"))
    assert labels.groupby("attribute").size().to_dict() == {"scene": 8, "shape": 16}
    probes, contrasts = ask(probe_tokens, ANALYZE, labels)
    assert set(probes["attribute"]) == {"scene", "shape"}
    assert set(probes[probes["attribute"] == "shape"]["source"]) == {
        "sink", "matched", "pooled", "class", "place",
    }  # fmt: skip
    assert set(probes["where"]) == {"vit", "llm"}
    assert set(contrasts["against"]) == {"matched", "pooled", "class", "place"}
    relevance, examples = ask(map_relevance, ANALYZE, labels)
    assert set(relevance["tokens"]) == {"sink", "matched", "sink - matched"}
    assert relevance["inside"].notna().all()
    assert examples["image"].nunique() <= 2
    assert (examples["map"].map(sum) - 1).abs().max() < 1e-5
    words, naming, by_attribute = ask(isolate_words, ANALYZE, labels)
    assert words.groupby("tokens").size().to_dict() == {"matched": 4, "sink": 4}
    assert set(naming["labels"]) == {"true", "shuffled", "true - shuffled"}
    assert set(by_attribute["attribute"]) == {"scene", "shape"}


@parts_once
def test_probes_of_the_last_layer_alone(stage, ask):
    layers = {"vit": [-1], "llm": []}
    analyze = ANALYZE | {"probes": ANALYZE["probes"] | {"layers": layers}}
    every = ask(probe_tokens, ANALYZE, labels_of(stage))[0]
    last, _ = ask(probe_tokens, analyze, labels_of(stage))
    assert set(last["where"]) == {"vit"}
    assert set(last["layer"]) == {every.loc[every["where"] == "vit", "layer"].max()}


@parts_once
def test_other_labels_are_not_read_from_what_was_measured_for_these(ask, tiny_records):
    """The place that a local attribute is of decides which tokens are averaged."""
    ask(probe_tokens, ANALYZE, boxed(tiny_records, 0.34))
    other = boxed(tiny_records, 1.0)
    again, _ = ask(probe_tokens, ANALYZE, other)
    fresh, _ = ask(probe_tokens, ANALYZE, other, workspace="fresh")
    pd.testing.assert_frame_equal(again, fresh)


@parts_once
def test_a_sweep_over_tau_is_what_models_of_that_tau_would_give(stage, ask, made):
    """Verdicts at a multiple are those on tables of a model that was saved with that tau."""
    labels = labels_of(stage)
    found = ask(sweep_tau, ANALYZE | {"sweep": {"taus": [0.9, 1, 1.1], "images": 14}}, labels)
    assert set(found["setting"]) == {0.9, 1.0, 1.1}
    assert found.groupby("setting")["chosen"].any().to_dict() == {0.9: False, 1.0: True, 1.1: False}
    made.model.config.tau *= 1.1
    made.save(stage / "louder" / "single" / "seed0")
    write_manifest(stage / "louder", kind="models")
    same_images = {
        name: ANALYZE[name] | {"images": 14} for name in ("probes", "relevance", "words")
    }
    same_images["probes"]["layers"] = {"vit": [-1], "llm": []}
    place = (stage / "records", stage / "louder", labels, ANALYZE | same_images, 0)
    here = (str(stage / "louder-work"), "cpu")
    probes, contrasts = probe_tokens(*place, *here)
    tables = {
        "probes": probes,
        "probe_contrasts": contrasts,
        "relevance": map_relevance(*place, *here)[0],
        "word_naming": isolate_words(*place, *here)[1],
    }
    columns = ["claim", "value", "low", "high", "n_images", "verdict"]
    at = found[found["setting"] == 1.1][columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(at, over_masks({1.0: tables}, 0.9)[columns])
    assert len(at) == 3


@parts_once
def test_what_cannot_be_swept_is_refused_or_left_out(stage, ask, made):
    labels = labels_of(stage)
    assert ask(sweep_tau, ANALYZE | {"sweep": None}, labels).empty
    with pytest.raises(ValueError, match="1, tau itself, must be among them"):
        ask(sweep_tau, ANALYZE | {"sweep": {"taus": [0.8], "images": 8}}, labels)
    made.model.config.arrangement = "front"  # now another tau is another input
    made.save(stage / "models" / "single" / "seed0")
    (stage / "models" / "manifest.json").unlink()
    write_manifest(stage / "models", kind="models")
    found = ask(sweep_tau, ANALYZE | {"sweep": {"taus": [1, 1.2], "images": 8}}, labels)
    assert set(found["claim"]) == {"relevance broad", "probes, vit"}


@parts_once
def test_what_is_turned_off_or_not_known_leaves_empty_tables(stage, ask):
    off = ANALYZE | dict.fromkeys(("labels", "probes", "relevance", "words"))
    none = label_images(stage / "records", GENERATED, off, 0)
    assert none.empty
    for node in (probe_tokens, map_relevance, isolate_words):
        assert all(table.empty for table in ask(node, off, labels_of(stage)))
    words, *naming = ask(isolate_words, ANALYZE, none)
    assert not words.empty
    assert all(table.empty for table in naming)
    assert all(table.empty for table in ask(probe_tokens, ANALYZE, none))


def test_the_miniatures_labels_are_what_its_own_truth_says(tmp_path):
    listing = write_split(tmp_path, "test", kind="questions", images=3, seed=5, questions=3)
    records, image_of = [], {}
    for item in json.loads(listing.read_text()):
        image = ImageFile.of((tmp_path / "images" / item["image"]).read_bytes())
        image_of[item["image"]] = image.sha256
        turns = tuple(Turn(turn["from"], turn["value"]) for turn in item["conversations"])
        records.append(Record(item["id"], (image,), turns, item["group"], item["subtask"]))
    write_shards(tmp_path / "records" / "test", records)
    analyze = {"labels": ANALYZE["labels"] | {"table": "miniature"}}
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
