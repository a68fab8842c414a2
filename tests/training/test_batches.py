"""Batches are a pure function of (seed, step, rank, world size)."""

import logging
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diysink.model import IGNORE, ChatEncoder
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
    """Five records: a short one; turns of which some fit; a first answer, a first question and a
    megabyte that do not."""
    picture = "<image> a"
    turns = {
        "short": (Turn("human", picture), Turn("gpt", "b")),
        "turns": (
            Turn("human", picture), Turn("gpt", "b c"),
            Turn("human", "d"), Turn("gpt", "e " * 9),
            Turn("human", "f <image>"), Turn("gpt", "g " * 50),
            Turn("human", "h"), Turn("gpt", "a"),
        ),
        "answer": (Turn("human", picture), Turn("gpt", "b c " * 40)),
        "question": (Turn("human", "<image> " + "a b " * 40), Turn("gpt", "c")),
        "megabyte": (Turn("human", picture), Turn("gpt", "b c " * 250_000)),
    }  # fmt: skip
    [image] = tiny_records[0].images
    write_shards(
        tmp_path / "long",
        [
            Record(name, (image,) * sum(turn.text.count("<image>") for turn in said), said)
            for name, said in turns.items()
        ],
    )
    return Records(tmp_path / "long")


@pytest.fixture
def model(parts):
    return tiny_generator(parts, sinks=0.3)


def encoded(model, records, limit=64, too_long="truncate"):
    return EncodedRecords(
        records, model.chat_encoder, model.image_processor, max_length=limit, too_long=too_long
    )


def test_a_dialogue_ends_at_a_turn_with_the_images_of_its_turns(model, parts, long_records):
    data = encoded(model, long_records)
    assert len(data) == 2
    assert data.lengths.counts == {"dialogues": 2, "truncated": 1, "left_out": 3}
    assert data.lengths.truncated == ("turns",)
    assert data.lengths.left_out == ("answer", "question", "megabyte")
    item = data[1]
    assert item["pixel_values"].shape[0] == 1
    assert torch.equal(
        item["input_ids"],
        model.chat_encoder.dialogue(long_records[1].conversations[:4]).input_ids,
    )
    if "qwen2" in parts.name:
        return  # its tokenizer leaves out words that it does not know
    # USER: 9 visual tokens, a, ASSISTANT: b c </s>; then USER: d ASSISTANT: 9 words </s>.
    assert len(item["input_ids"]) == (1 + 9 + 1 + 1 + 2 + 1) + (1 + 1 + 1 + 9 + 1)
    # The end of every answer that is learnt is its own.
    learnt = item["labels"][item["labels"] != IGNORE]
    words = model.chat_encoder.tokenizer.convert_ids_to_tokens(learnt)
    assert words == ["b", "c", "</s>", *["e"] * 9, "</s>"]


def test_what_is_too_long_is_left_out_where_that_is_asked_for(model, long_records):
    data = encoded(model, long_records, too_long="quarantine")
    assert data.lengths.counts == {"dialogues": 1, "truncated": 0, "left_out": 4}
    assert data.lengths.plain()["left_out_ids"] == ["turns", "answer", "question", "megabyte"]
    assert data.collate([data[0]])["input_ids"].shape[1] < 9 + 6


def test_without_a_limit_everything_is_kept(model, long_records):
    data = encoded(model, long_records, limit=None)
    assert data.lengths.counts == {"dialogues": 5, "truncated": 0, "left_out": 0}
    assert data[1]["pixel_values"].shape[0] == 2


@given(
    limit=st.integers(1, 70),
    rounds=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6),
)
def test_as_many_turns_are_kept_as_fit(tokenizer, limit, rounds):
    encoder = ChatEncoder(tokenizer, image_tokens=9)
    turns = [
        Turn("human" if side == 0 else "gpt", " ".join("a" * words))
        for words_of in rounds
        for side, words in enumerate(words_of)
    ]
    turns[0] = Turn("human", f"<image> {turns[0].text}")
    kept = encoder.fitting_turns(turns, limit)
    lengths = [len(encoder.dialogue(turns[:n]).input_ids) for n in range(2, len(turns) + 1, 2)]
    assert kept == 2 * sum(length <= limit for length in lengths)


def test_a_batch_without_anything_to_learn_has_loss_and_gradients_zero(model, long_records):
    data = encoded(model, long_records)
    short = data[0]
    lost = short | {"labels": torch.full_like(short["labels"], IGNORE)}
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


def test_what_does_not_fit_is_said_before_the_training(model, long_records, caplog):
    with caplog.at_level(logging.WARNING, "diysink"):
        encoded(model, long_records)
    said = [record.args for record in caplog.records if record.name == "diysink.training.lengths"]
    assert said == [
        (1, 5, 64, "truncated at a turn", "turns"),
        (3, 5, 64, "left out", "answer, question, megabyte"),
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_sees_what_is_kept_and_nothing_else(model, long_records, tmp_path, workers):
    data = encoded(model, long_records)
    batches = RecordsDataModule(data, batch_size=1, num_batches=4, seed=0, num_workers=workers)
    settings = FitSettings(accelerator="cpu", enable_progress_bar=False)
    training = ConnectorTraining(model.model, learning_rate=1e-2, max_steps=4)
    rows = fit(training, batches, settings, tmp_path / "scratch")
    assert [math.isfinite(row["loss"]) and row["loss"] > 0 for row in rows] == [True] * 4


def test_short_records_are_not_touched(model, tiny_records):
    with_limit, without = (
        EncodedRecords(tiny_records, model.chat_encoder, model.image_processor, max_length=limit)
        for limit in (64, None)
    )
    for index in range(len(tiny_records)):
        mine, theirs = with_limit[index], without[index]
        assert torch.equal(mine["input_ids"], theirs["input_ids"])
        assert torch.equal(mine["labels"], theirs["labels"])


def test_a_limit_that_no_dialogue_fits_is_an_error(model, long_records):
    with pytest.raises(ValueError, match=r"none of 5 dialogues.*takes 9.*'short'"):
        encoded(model, long_records, limit=9)


def test_a_megabyte_takes_as_much_memory_as_any_other_record(model, long_records):
    import tracemalloc

    tracemalloc.start()
    data = encoded(model, long_records)
    assert "megabyte" in data.lengths.left_out
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6  # the record itself is read and cut: some copies of its text
