"""Questions that are too long are counted and named when a split is evaluated."""

import dataclasses
import logging

import pytest

from diysink.evaluation.benchmarks import BENCHMARKS
from diysink.evaluation.finetuned import FineTunedModel
from diysink.evaluation.item import Item
from diysink.evaluation.predict import Replies, predict
from diysink.model.questions import question_batch
from diysink.records import Record, Records, Turn, question_of, write_shards
from tests.tiny_models import tiny_generator

TEXTS = {"short": "a", "long": "a b c d " * 40, "between": "a b c d"}


@pytest.fixture
def split(tmp_path, tiny_records):
    image = tiny_records[0].images
    records = [
        Record(name, image, (Turn("human", f"<image>\n{text}"), Turn("gpt", "b")))
        for name, text in TEXTS.items()
    ]
    write_shards(tmp_path / "test", records)
    return Records(tmp_path / "test")


def test_they_are_counted_and_named_and_whole_in_the_table(parts, split, caplog):
    generator = tiny_generator(parts, max_new_tokens=2)
    with caplog.at_level(logging.WARNING, "diysink"):
        table = predict(
            FineTunedModel(generator),
            split,
            benchmark=BENCHMARKS["test"],
            variant="dual",
            batch=2,
        )
    assert [record.args for record in caplog.records] == [("dual", 1, 3, "long")]
    assert table["question"].tolist() == [text.strip() for text in TEXTS.values()]


def test_analyses_read_the_same_beginnings(parts, split):
    generator = tiny_generator(parts, max_new_tokens=2)
    texts = question_batch(generator, list(split)).texts
    assert texts[0::2] == ("a", "a b c d")
    assert texts[1] == generator.chat_encoder.fitting(TEXTS["long"].strip(), generator.longest)
    assert len(generator.chat_encoder.question(f"<image>\n{texts[1]}")) <= 62


class Echo:
    """Answers with the question; sees one image."""

    several_images = False

    def answer(self, records, max_new_tokens=None):
        return Replies([question_of(record) for record in records])


def test_each_item_gets_its_own_answer_whatever_its_id(tiny_records):
    image = tiny_records[0].images
    items = [
        Record("same", image, (Turn("human", f"<image>\n{text}"), Turn("gpt", text)))
        for text in ("one", "two")
    ]
    several = Record("same", image * 2, (Turn("human", "<image><image> x"), Turn("gpt", "x")))
    table = predict(
        Echo(), [several, *items], benchmark=BENCHMARKS["test"], variant="echo", batch=3
    )
    assert table["prediction"].tolist() == ["", "one", "two"]


def test_a_row_holds_what_the_metric_and_the_comparison_need(tiny_records):
    limits = []

    class Limited(Echo):
        def answer(self, records, max_new_tokens=None):
            limits.append(max_new_tokens)
            return super().answer(records)

    turns = (Turn("human", "<image>\nx"), Turn("gpt", "x"))
    item = Item(
        "i", tiny_records[0].images, turns, "local", "s", (), (), unit="u", labels=("l", "m")
    )
    benchmark = dataclasses.replace(BENCHMARKS["test"], max_new_tokens=7)
    table = predict(
        Limited(), [item], benchmark=benchmark, variant="v", seed=3, control="c", batch=1
    )
    expected = {"id": "i", "group": "local", "subtask": "s", "unit": "u", "labels": ["l", "m"]}
    expected |= {"variant": "v", "seed": 3, "control": "c", "correct": 1, "guessed": False}
    assert {name: table.iloc[0][name] for name in expected} == expected
    assert limits == [7]
