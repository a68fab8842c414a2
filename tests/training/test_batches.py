"""Batches are a pure function of (seed, step, rank, world size)."""

import logging
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diysink.records import Record, Records, Turn, write_shards
from diysink.training import (
    BatchSchedule,
    ConnectorTraining,
    EncodedRecords,
    FitSettings,
    LanguageTraining,
    RecordsDataModule,
    fit,
)
from tests.tiny_models import tiny_generator


def schedule(**changes):
    return BatchSchedule(**{"items": 23, "batch_size": 2, "num_batches": 40, "seed": 5, **changes})


def flat(batches):
    return [index for batch in batches for index in batch]


@given(st.integers(0, 40))
def test_resuming_yields_the_rest_of_the_run(start):
    assert list(schedule(start=start)) == list(schedule())[start:]
    assert len(schedule(start=start)) == 40  # of the whole run


def test_every_record_comes_once_in_an_epoch_and_in_another_order_in_the_next():
    batches = list(schedule())
    per = schedule().per_epoch
    first, second = flat(batches[:per]), flat(batches[per : 2 * per])
    assert len(set(first)) == len(first) == 22
    assert first != second
    assert set(first) <= set(range(23))


@given(st.integers(2, 4))
def test_processes_share_an_epoch_without_overlap(world):
    step = [schedule(rank=rank, world_size=world).at(3) for rank in range(world)]
    assert len(set(flat(step))) == 2 * world


def test_a_world_of_two_sees_the_global_batches_of_one():
    one = schedule(batch_size=4)
    two = [schedule(batch_size=2, rank=rank, world_size=2) for rank in (0, 1)]
    assert [sorted(one.at(s)) for s in range(9)] == [
        sorted(two[0].at(s) + two[1].at(s)) for s in range(9)
    ]


def test_seeds_differ():
    assert list(schedule()) != list(schedule(seed=6))


def test_too_few_records_are_an_error():
    with pytest.raises(ValueError, match=r"23 records are fewer than one global batch of 12 x 2"):
        schedule(batch_size=12, world_size=2)


@pytest.fixture
def long_records(tmp_path, tiny_records):
    """Four records: a short one, a long answer, an answer that is cut away, a megabyte."""
    turns = {
        "short": (Turn("human", "<image> a"), Turn("gpt", "b")),
        "answer": (Turn("human", "<image> a"), Turn("gpt", "b c " * 40)),
        "lost": (Turn("human", "<image> " + "a b " * 40), Turn("gpt", "c")),
        "megabyte": (Turn("human", "<image> a"), Turn("gpt", "b c " * 250_000)),
    }
    image = tiny_records[0].images
    write_shards(tmp_path / "long", [Record(name, image, said) for name, said in turns.items()])
    return Records(tmp_path / "long")


@pytest.fixture
def model(parts):
    return tiny_generator(parts, sinks=0.3)


def encoded(model, records, limit=64):
    return EncodedRecords(records, model.chat_encoder, model.image_processor, max_length=limit)


def test_dialogues_are_cut_to_the_limit_and_say_so(model, long_records):
    data = encoded(model, long_records)
    items = {name: data[i] for i, name in enumerate(("short", "answer", "lost", "megabyte"))}
    assert [len(items[name]["input_ids"]) for name in ("answer", "lost", "megabyte")] == [64] * 3
    assert len(items["short"]["input_ids"]) < 64
    truncated = {name: item["truncated"] for name, item in items.items()}
    assert truncated == {
        "short": None,
        "answer": ("answer", True),
        "lost": ("lost", False),
        "megabyte": ("megabyte", True),
    }
    batch = data.collate(list(items.values()))
    assert batch["truncated"] == (("answer", True), ("lost", False), ("megabyte", True))
    assert all((item["input_ids"] == 3).sum() == 9 for item in items.values())


def test_a_batch_without_anything_to_learn_has_loss_and_gradients_zero(model, long_records):
    data = encoded(model, long_records)
    lost, short = data[2], data[0]
    for kind in (ConnectorTraining, LanguageTraining):
        training = kind(model.model, learning_rate=1e-2, max_steps=2)
        loss = training.training_step(data.collate([lost, lost]), 0)
        assert loss.item() == 0.0
        loss.backward()
        gradients = [p.grad for p in training.parameters() if p.requires_grad]
        assert all(gradient is not None and not gradient.any() for gradient in gradients)
        training.zero_grad()
        # Beside others it changes nothing: the mean is over tokens with labels.
        alone, both = (
            training.training_step(data.collate(items), 0) for items in ([short], [short, lost])
        )
        assert alone > 0
        assert both.item() == pytest.approx(alone.item(), rel=1e-5)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_says_once_what_it_cut_and_whose_answers_are_lost(
    model, long_records, tmp_path, caplog, workers
):
    data = encoded(model, long_records)
    batches = RecordsDataModule(data, batch_size=1, num_batches=8, seed=0, num_workers=workers)
    settings = FitSettings(accelerator="cpu", enable_progress_bar=False)
    training = ConnectorTraining(model.model, learning_rate=1e-2, max_steps=8)
    with caplog.at_level(logging.WARNING, "diysink"):
        rows = fit(training, batches, settings, tmp_path / "scratch")
    assert all(math.isfinite(row["loss"]) for row in rows)
    assert sum(row["loss"] == 0 for row in rows) == 2
    said = [record.args for record in caplog.records if record.name == "diysink.training.batches"]
    assert len(said) == 2
    assert said[0][:2] == (3, 64)
    assert set(said[0][2].split(", ")) == {"answer", "lost", "megabyte"}
    assert said[1] == (1, "lost")


def test_short_records_are_not_touched(model, tiny_records):
    with_limit, without = (
        EncodedRecords(tiny_records, model.chat_encoder, model.image_processor, max_length=limit)
        for limit in (64, None)
    )
    for index in range(len(tiny_records)):
        mine, theirs = with_limit[index], without[index]
        assert torch.equal(mine["input_ids"], theirs["input_ids"])
        assert torch.equal(mine["labels"], theirs["labels"])
        assert mine["truncated"] is None


def test_visual_tokens_that_do_not_fit_are_an_error_with_the_id(model, long_records):
    with pytest.raises(ValueError, match=r"record 'short' has 1 images of 9 visual tokens"):
        encoded(model, long_records, limit=9)[0]


def test_a_megabyte_takes_as_much_memory_as_any_other_record(model, long_records):
    import tracemalloc

    data = encoded(model, long_records)
    data[0]
    tracemalloc.start()
    data[3]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6  # the record itself is read and cut: some copies of its text
