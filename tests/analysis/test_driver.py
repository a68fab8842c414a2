"""The driver: one run of the model for all analyses, in any batches, resumable, honest."""

from typing import Any

import pandas as pd
import pytest

from diysink.analysis import Analysis, Context, Looks, Settings
from diysink.analysis.diysink_subject import DIYSinkSubject
from diysink.analysis.driver import Walk, first, measure_batch, possible
from diysink.artifact import Workspace
from diysink.records import Records, Turn, write_shards
from tests.analysis.batches import batch_of
from tests.tiny_models import tiny_generator, tiny_questions


class Plain(Analysis[Settings]):
    def summarize(self, rows):
        return rows


class Norms(Plain):
    title, question = "norms", "?"

    def measure(self, batch):
        return pd.DataFrame({"id": batch.ids, "norm": batch.encoded.norms.sum(1)})


class Attended(Plain):
    title, question = "attended", "?"
    unit = "image"

    def measure(self, batch):
        sums = []
        yield Looks(
            vision=lambda layer: sums.append(layer.attention.sum((1, 2, 3))),
            vision_states=lambda number, states: sums.append(states.sum((1, 2))),
            language=lambda layer: sums.append(layer.attention.sum((1, 2, 3))),
            image_states=lambda number, states: sums.append(states.sum((1, 2))),
        )
        return pd.DataFrame({"id": batch.ids, **{str(i): s.numpy() for i, s in enumerate(sums)}})


class Counting:
    """A subject that counts what it is asked for."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.calls = inner, []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        if not callable(value):
            return value

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            return value(*args, **kwargs)

        return counted


@pytest.fixture(scope="module")
def generator(parts):
    return tiny_generator(parts, sinks=0.3, connector="single", arrangement="natural")


@pytest.fixture
def records(tiny_records, tmp_path):
    import dataclasses

    turns = (Turn("human", "<image>\na b"), Turn("gpt", "c"))
    items = [dataclasses.replace(record, conversations=turns) for record in tiny_records]
    items.insert(1, dataclasses.replace(items[0], id="again"))  # an image once more
    write_shards(tmp_path / "test", items)
    return Records(tmp_path / "test")


def walk(generator, records, tmp_path, *, batch_size=4, key="it", opened=None):
    def subject():
        if opened is not None:
            opened.append(1)
        return DIYSinkSubject(generator)

    return Walk(subject, records, Workspace(tmp_path / "work", "analyze", key),
                batch_size=batch_size, max_new_tokens=2, seed=0)  # fmt: skip


def made(kind, **settings):
    return kind(Settings(**settings), Context())


def test_the_model_runs_once_for_all_analyses(generator):
    batch = batch_of(generator, tiny_questions(("a b", "c", "d")), max_new_tokens=2)
    batch.subject = Counting(batch.subject)
    analyses = {name: made(Attended) for name in "abc"} | {"norms": made(Norms)}
    rows = measure_batch(analyses, batch)
    assert list(rows) == ["a", "b", "c", "norms"]
    assert sorted(batch.subject.calls) == [
        "language_states", "prompts", "prompts", "questions", "read_language", "read_vision",
        "vision_states",
    ]  # fmt: skip  # one prompt with the question, one of the image alone
    pd.testing.assert_frame_equal(rows["a"], rows["c"])


def test_questions_are_the_first_and_images_are_different(records):
    assert first(records, "question", 3) == [0, 1, 2]
    assert first(records, "image", 3) == [0, 2, 3]
    assert len(first(records, "image", 99)) == len(records) - 1


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_rows_do_not_depend_on_batches_or_on_other_analyses(
    generator, records, tmp_path, batch_size
):
    alone, _ = walk(generator, records, tmp_path).measure({"it": made(Attended, max_samples=5)})
    both = {"other": made(Attended, max_samples=7), "it": made(Attended, max_samples=5),
            "norms": made(Norms, max_samples=2)}  # fmt: skip
    together, _ = walk(generator, records, tmp_path, batch_size=batch_size, key="both").measure(
        both
    )
    assert len(together["other"]) == 7
    assert len(together["norms"]) == 2
    pd.testing.assert_frame_equal(together["it"], alone["it"], rtol=1e-4)
    assert alone["it"]["id"].tolist() == [f"r{i}" for i in range(5)]


def test_measured_batches_are_not_measured_again_and_need_no_model(generator, records, tmp_path):
    class Killed(Norms):
        def measure(self, batch):
            if batch.start == 4:
                raise KeyboardInterrupt
            return super().measure(batch)

    with pytest.raises(KeyboardInterrupt):
        walk(generator, records, tmp_path).measure({"it": made(Killed, max_samples=8)})
    seen = []

    class Seen(Norms):
        def measure(self, batch):
            seen.append(batch.start)
            return super().measure(batch)

    rows, _ = walk(generator, records, tmp_path).measure({"it": made(Seen, max_samples=8)})
    assert seen == [4]
    opened = []
    again, _ = walk(generator, records, tmp_path, opened=opened).measure(
        {"it": made(Seen, max_samples=8)}
    )
    assert not opened
    pd.testing.assert_frame_equal(again["it"], rows["it"])


def test_what_a_model_lacks_is_said_and_the_rest_is_measured(parts, records, tmp_path):
    class Patches(Norms):
        needs = frozenset({"patch tokens"})

    resampler = tiny_generator(parts, connector="resampler", arrangement="natural")
    rows, reasons = walk(resampler, records, tmp_path).measure(
        {"patches": made(Patches, max_samples=2), "norms": made(Norms, max_samples=2)}
    )
    assert set(rows) == {"norms"}
    assert "belongs to no patch" in reasons["patches"]
    kept, _ = possible({"patches": made(Patches)}, DIYSinkSubject(tiny_generator(parts)))
    assert set(kept) == {"patches"}


def test_looks_are_yielded_once(generator):
    class Twice(Attended):
        def measure(self, batch):
            yield Looks()
            yield Looks()

    with pytest.raises(RuntimeError, match="more than once"):
        measure_batch({"it": made(Twice)}, batch_of(generator, tiny_questions(("a", "b", "c"))))


def test_a_split_without_images_is_refused(generator, records, tmp_path):
    with pytest.raises(ValueError, match="no record with an image"):
        walk(generator, records, tmp_path).measure({"it": made(Norms, max_samples=0)})
