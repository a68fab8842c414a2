"""A way through a split: which records; each batch once, also after a kill."""

import dataclasses
import shutil

import pandas as pd
import pytest

from diysink.artifact import write_manifest
from diysink.records import Records, write_shards
from pipelines.analyze.study import Study
from tests.pipelines.analyze.conftest import PLACE, TAU

pytestmark = pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)


def study(stage, asked, name="looks", **decides):
    analyze = {name: PLACE | asked}
    folders = (stage / "records", stage / "models")
    return Study(name, *folders, analyze, str(stage / "work"), "cpu", **decides)


def ids(generator, questions, batch):
    return pd.DataFrame({"id": questions.ids, "start": batch.start})


def test_items_are_the_first_questions(stage):
    table = study(stage, {"items": 6}).ask(ids)
    assert table["id"].tolist() == [f"r{i}" for i in range(6)]
    assert table["start"].tolist() == [0] * 4 + [4] * 2


def test_images_are_different_ones_however_many_are_asked_for(stage):
    """The stage's last record shows the first image again."""
    table = study(stage, {"images": 99}).ask(ids)
    assert table["id"].tolist() == [f"r{i}" for i in range(16)]
    assert len(study(stage, {"items": 99}).ask(ids)) == 17


def test_the_answer_s_length_is_the_analysis_s_own(stage):
    assert study(stage, {"items": 1, "max_new_tokens": 3}).generator.max_new_tokens == 3


def test_sinks_at_a_multiple_of_tau(stage):
    assert study(stage, {"items": 1}).generator.model.config.tau == TAU
    twice = study(stage, {"items": 1, "tau": 2.0})
    assert twice.generator.model.config.tau == 2 * TAU
    assert twice.generator.model.config.tau == 2 * TAU  # asked again, it is the same model


def killed_in_the_third_batch(generator, questions, batch):
    if batch.start == 8:
        raise KeyboardInterrupt
    return ids(generator, questions, batch)


def test_a_killed_study_goes_on_where_it_was(stage):
    with pytest.raises(KeyboardInterrupt):
        study(stage, {"items": 10}).ask(killed_in_the_third_batch)
    asked = []

    def counting(generator, questions, batch):
        asked.append(batch.start)
        return ids(generator, questions, batch)

    table = study(stage, {"items": 10}).ask(counting)
    assert asked == [8]
    assert table["id"].tolist() == [f"r{i}" for i in range(10)]


def test_a_finished_study_loads_no_model(stage, monkeypatch):
    whole = study(stage, {"items": 4}).ask(ids)
    again = study(stage, {"items": 4})
    monkeypatch.setattr(
        Study, "generator", property(lambda self: pytest.fail("a model was loaded"))
    )
    pd.testing.assert_frame_equal(again.ask(ids), whole)


def other_records(stage):
    items = [dataclasses.replace(record, id=f"other-{record.id}")
             for record in Records(stage / "records" / "test")]  # fmt: skip
    shutil.rmtree(stage / "records")
    write_shards(stage / "records" / "test", items)
    write_manifest(stage / "records", kind="records")


def other_models(stage):
    (stage / "models" / "manifest.json").unlink()
    (stage / "models" / "single" / "seed0" / "note.txt").write_text("trained again")
    write_manifest(stage / "models", kind="models")


@pytest.mark.parametrize(
    "changed",
    [
        {"asked": {"items": 3}},
        {"asked": {"items": 4, "tau": 2.0}},
        {"seed": 1},
        {"massive": {"ratio": 3.0}},
        {"name": "sees"},
        {"before": other_records},
        {"before": other_models},
    ],
    ids=["items", "tau", "seed", "rule", "name", "records", "models"],
)
def test_whatever_decides_the_result_is_work_of_its_own(stage, changed):
    study(stage, {"items": 4}, seed=0).ask(ids)
    changed = {"asked": {"items": 4}, "seed": 0} | changed
    changed.pop("before", lambda stage: None)(stage)
    measured = []

    def counting(generator, questions, batch):
        measured.append(batch.start)
        return ids(generator, questions, batch)

    study(stage, changed.pop("asked"), **changed).ask(counting)
    assert measured == [0]


def test_items_and_images_are_two_ways_to_count(stage):
    for asked in ({"items": 4, "images": 4}, {}):
        with pytest.raises(ValueError, match=r"analyze\.looks must say either items .* or images"):
            study(stage, asked)


def test_a_split_without_anything_to_look_at_is_named(stage):
    with pytest.raises(ValueError, match=r"'test' has no record .* leave the analysis out"):
        study(stage, {"images": 0}).ask(ids)
