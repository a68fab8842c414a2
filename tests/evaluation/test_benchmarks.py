"""Benchmarks as rows: records, suffix, metric; adding one is a row."""

import pytest

from diysink.evaluation.benchmarks import BENCHMARKS, Benchmark
from diysink.evaluation.predict import Replies, predict
from diysink.records import Records, question_of


class Parrot:
    """Answers every question in a sentence with the right word in it."""

    several_images = False

    def answer(self, records, max_new_tokens=None):
        return Replies([f"It is {record.conversations[1].text}." for record in records])


@pytest.fixture
def folder(tiny_records, tmp_path):
    (tmp_path / "test").symlink_to(tiny_records.folder)
    return tmp_path


@pytest.fixture
def one_turn(folder):
    """A loader that keeps the first question and answer of each record."""
    import dataclasses

    def load(records, split):
        return [
            dataclasses.replace(record, conversations=record.conversations[:2])
            for record in Records(records / split)
        ]

    return load


def test_every_row_is_found_by_its_name():
    assert all(row.name == name for name, row in BENCHMARKS.items())


@pytest.mark.parametrize(("metric", "share"), [("exact", 0.0), ("contains", 1.0)])
def test_the_metric_is_the_benchmarks(folder, one_turn, metric, share):
    """A model that answers in sentences is right where the benchmark's metric is `contains`."""
    benchmark = Benchmark("mine", metric=metric, load=one_turn)
    records = benchmark.items(folder)
    table = predict(Parrot(), records, benchmark=benchmark, variant="parrot", batch=5)
    assert len(table) == len(records)
    assert table["correct"].mean() == share
    assert set(table["benchmark"]) == {"mine"}
    assert set(table["metric"]) == {metric}
    assert table[["route", "weight_sink", "visual_tokens"]].isna().all(axis=None)


def test_a_suffix_ends_every_question(folder, one_turn):
    plain = Benchmark("plain", load=one_turn).items(folder)
    short = Benchmark("short", suffix="\nIn one word.", load=one_turn).items(folder)
    assert len(short) == len(plain)
    assert question_of(short[3]) == question_of(plain[3]) + "\nIn one word."
    assert short[3].conversations[1] == plain[3].conversations[1]


def test_an_unknown_metric_or_split_is_refused(folder):
    with pytest.raises(ValueError, match="exact or contains"):
        Benchmark("mine", metric="bleu")
    with pytest.raises(ValueError, match="have test"):
        Benchmark("mine", split="tset").items(folder)
