"""What tokens carry, as nodes: on a tiny random model, and the miniature's own labels."""

import dataclasses
import json

import pandas as pd
import pytest

from diysink.artifact import write_manifest
from diysink.miniature.llava import write_split
from diysink.miniature.world import GRID
from diysink.model import Parts, assemble
from diysink.records import ImageFile, Record, Turn, write_shards
from pipelines.analyze.answers import answer_matched, label_tasks
from pipelines.analyze.carries import isolate_words, map_relevance, probe_tokens
from pipelines.analyze.labels import label_images

MODEL = {"connector": "single", "seed": 0, "split": "test"}
ANALYZE = {
    "level": 0.9,
    "resamples": 50,
    "ablation": {"sink": "single-sinks", "matched": {"seed": 0}},
    "labels": {"split": "test", "groups": ["global"], "table": None},
    "probes": MODEL | {"images": 14, "batch": 5, "folds": 2, "ridge": 1.0, "layers": None},
    "relevance": MODEL | {"images": 14, "batch": 5, "examples": 2},
    "words": MODEL | {"images": 14, "batch": 5, "top": 3, "rows": 4},
    "taxonomy": MODEL
    | {"items": 10, "batch": 4, "local": 0.33, "whole": 0.67, "complexity": 0.0, "human": None},
}
EVALUATE = {
    "split": "test",
    "batch": 6,
    "max_new_tokens": 2,
    "cot": {
        "image": "a b",
        "image_choices": ["c", "d"],
        "scope": "e {question}",
        "scope_choices": ["f", "g", "h"],
    },
    "variants": {
        "single-sinks": {"connector": "single", "arrangement": "front", "selection": "sink"}
    },
}
GENERATED = {"splits": {}, "generate": {"test": {"kind": "questions", "images": 3}}}
parts_once = pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)


@pytest.fixture
def stage(parts, tiny_records, tmp_path):
    """Records with a global attribute of two values, and one fine-tuned model."""
    items = [
        dataclasses.replace(
            record,
            conversations=(Turn("human", "<image>\na b"), Turn("gpt", "cd"[i % 2])),
            group=("global", "global", "local", None)[i % 4],
            subtask="scene",
        )
        for i, record in enumerate(tiny_records)
    ]
    items += [dataclasses.replace(items[0], id="again")]  # an image once more: measured once
    write_shards(tmp_path / "records" / "test", items)
    write_manifest(tmp_path / "records", kind="records")
    made = assemble(
        Parts(encoder=str(parts / "encoder"), language=str(parts / "language")),
        None,
        connector="single",
        arrangement="natural",
    )
    made.model.config.tau = 3.5
    made.save(tmp_path / "models" / "single" / "seed0")
    write_manifest(tmp_path / "models", kind="models")
    return tmp_path


def run(node, stage, labels, analyze=ANALYZE, workspace="work"):
    work = str(stage / workspace)
    return node(stage / "records", stage / "models", labels, analyze, 0, work, "cpu")


def labels_of(stage, **other):
    asked = ANALYZE["labels"] | other
    return label_images(stage / "records", GENERATED, ANALYZE | {"labels": asked}, 0)


@parts_once
def test_the_analyses_run_on_labels_of_records_and_of_a_table(stage, tiny_records):
    told = labels_of(stage)
    assert len(told) == 8
    boxes = pd.DataFrame(
        [
            {
                "image": record.images[0].sha256, "attribute": "shape", "scope": "local",
                "label": "ef"[i % 2], "top": 0.0, "left": 0.0, "bottom": 0.7, "right": 0.7,
            }
            for i, record in enumerate(tiny_records)
        ]
    )  # fmt: skip
    boxes.to_csv(stage / "labels.csv", index=False)
    labels = labels_of(stage, table=str(stage / "labels.csv"))
    assert labels.groupby("attribute").size().to_dict() == {"scene": 8, "shape": 16}
    probes, contrasts = run(probe_tokens, stage, labels)
    assert set(probes["attribute"]) == {"scene", "shape"}
    assert set(probes[probes["attribute"] == "shape"]["source"]) == {
        "sink", "matched", "pooled", "class", "place",
    }  # fmt: skip
    assert set(probes["where"]) == {"vit", "llm"}
    assert set(contrasts["against"]) == {"matched", "pooled", "class", "place"}
    relevance, examples = run(map_relevance, stage, labels)
    assert set(relevance["tokens"]) == {"sink", "matched", "sink - matched"}
    assert relevance["inside"].notna().all()
    assert examples["image"].nunique() <= 2
    assert (examples["map"].map(sum) - 1).abs().max() < 1e-5
    words, naming, by_attribute = run(isolate_words, stage, labels)
    assert words.groupby("tokens").size().to_dict() == {"matched": 4, "sink": 4}
    assert set(naming["labels"]) == {"true", "shuffled", "true - shuffled"}
    assert set(by_attribute["attribute"]) == {"scene", "shape"}


@parts_once
def test_a_killed_run_goes_on_with_the_same_result(stage, monkeypatch):
    import diysink.analysis.words

    labels = labels_of(stage)
    whole = run(isolate_words, stage, labels, workspace="other")
    real, calls = diysink.analysis.words.words_by_image, []

    def dies(answerer, pixels, *rest):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(pixels))
        return real(answerer, pixels, *rest)

    monkeypatch.setattr(diysink.analysis.words, "words_by_image", dies)
    with pytest.raises(KeyboardInterrupt):
        run(isolate_words, stage, labels)
    monkeypatch.setattr(
        diysink.analysis.words,
        "words_by_image",
        lambda answerer, pixels, *rest: (calls.append(len(pixels)), real(answerer, pixels, *rest))[
            1
        ],
    )
    for made, expected in zip(run(isolate_words, stage, labels), whole, strict=True):
        pd.testing.assert_frame_equal(made, expected)
    assert calls == [5, 5, 4]


@parts_once
def test_what_is_turned_off_or_not_known_leaves_empty_tables(stage):
    off = ANALYZE | dict.fromkeys(
        ("labels", "probes", "relevance", "words", "taxonomy", "ablation")
    )
    none = label_images(stage / "records", GENERATED, off, 0)
    assert none.empty
    for node in (probe_tokens, map_relevance, isolate_words):
        assert all(table.empty for table in run(node, stage, labels_of(stage), off))
    words, *naming = run(isolate_words, stage, none)
    assert not words.empty
    assert all(table.empty for table in naming)
    assert all(table.empty for table in run(probe_tokens, stage, none))
    given = (stage / "records", stage / "models", off, EVALUATE)
    assert all(t.empty for t in label_tasks(*given, 0, str(stage / "work"), "cpu"))
    assert answer_matched(*given, [0], str(stage / "work"), "cpu").empty


@parts_once
def test_tasks_are_labelled_and_held_against_groups_and_people(stage):
    people = stage / "people.csv"
    pd.DataFrame({"id": ["r0", "r1"], "label": ["Global", "local"]}).to_csv(people, index=False)
    analyze = ANALYZE | {"taxonomy": ANALYZE["taxonomy"] | {"human": str(people)}}
    labels, agreement = label_tasks(
        stage / "records", stage / "models", analyze, EVALUATE, 0, str(stage / "work"), "cpu"
    )
    assert len(labels) == 10
    assert set(labels["label"]) <= {"global", "local", "mixed"}
    n = agreement[agreement["labels"] == "true"].set_index("against")["n"]
    assert n.to_dict() == {"groups": int(labels["group"].notna().sum()), "human": 2}


@parts_once
def test_matched_tokens_answer_every_question_with_as_many_tokens_as_sinks(stage):
    made = answer_matched(
        stage / "records", stage / "models", ANALYZE, EVALUATE, [0], str(stage / "work"), "cpu"
    )
    seen = made.pivot_table(index="id", columns="variant", values="visual_tokens")
    assert len(seen) == 17
    without = seen["matched-tokens"] == 9  # no sinks: the other set, as everywhere
    assert ((seen["matched-tokens"] + seen["unmatched-tokens"] == 9) | without).all()
    assert not without.all()


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
    other = label_images(tmp_path / "records", GENERATED | {"splits": {"x": 1}}, analyze, 5)
    assert set(other["scope"]) == {"global"}  # the data are someone's own: answers alone
