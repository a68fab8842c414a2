"""A benchmark answered in parts: each item once, whoever stops and however many share."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diysink.evaluation.parts import PREDICTIONS, answer_in_parts
from diysink.records import Record


def records(number):
    return [Record(str(each), (), ()) for each in range(number)]


class Answering:
    """Answers with the item itself; counts, and stops at some item."""

    def __init__(self, stop_at=None):
        self.asked, self.stop_at, self.lock = [], stop_at, Lock()

    def __call__(self, items):
        taken = [int(items[index].id) for index in range(len(items))]
        if self.stop_at in taken:
            raise KeyboardInterrupt
        with self.lock:
            self.asked += taken
        return pd.DataFrame({"id": taken})


@settings(deadline=None, max_examples=40)
@given(number=st.integers(1, 40), size=st.integers(1, 15), limit=st.none() | st.integers(1, 50))
def test_every_item_once_and_in_order(tmp_path_factory, number, size, limit):
    folder = tmp_path_factory.mktemp("parts")
    answering = Answering()
    table = answer_in_parts(folder, records(number), answering, size=size, limit=limit)
    expected = list(range(number if limit is None else min(limit, number)))
    assert table["id"].tolist() == answering.asked == expected
    assert [path.name for path in folder.glob("*.parquet")] == [PREDICTIONS]


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    first, items = Answering(stop_at=7), records(10)
    with pytest.raises(KeyboardInterrupt):
        answer_in_parts(tmp_path, items, first, size=3)
    second = Answering()
    table = answer_in_parts(tmp_path, items, second, size=3)
    assert first.asked == [0, 1, 2, 3, 4, 5]
    assert second.asked == [6, 7, 8, 9]
    assert table["id"].tolist() == list(range(10))
    third = Answering()
    assert answer_in_parts(tmp_path, items, third, size=3).equals(table)
    assert third.asked == []


def test_parts_of_another_size_are_not_taken_for_these(tmp_path):
    """Stopped with parts of 3; then parts of 4, one of which begins where an old one does."""
    with pytest.raises(KeyboardInterrupt):
        answer_in_parts(tmp_path, records(20), Answering(stop_at=16), size=3)
    again = Answering()
    assert answer_in_parts(tmp_path, records(20), again, size=4)["id"].tolist() == list(range(20))
    assert [path.name for path in tmp_path.glob("*.parquet")] == [PREDICTIONS]


def test_two_at_once_share_the_parts(tmp_path):
    """Each part is answered by one of them; both get all of it."""
    together = Barrier(2)

    class Slow(Answering):
        def __call__(self, items):
            if len(self.asked) == 0:
                together.wait(timeout=10)  # both have a part at the same time
            return super().__call__(items)

    workers = [Slow(), Slow()]
    with ThreadPoolExecutor(2) as pool:
        tables = list(
            pool.map(lambda do: answer_in_parts(tmp_path, records(20), do, size=2), workers)
        )
    assert sorted(workers[0].asked + workers[1].asked) == list(range(20))
    assert all(worker.asked for worker in workers)
    assert all(table["id"].tolist() == list(range(20)) for table in tables)
    assert not list(tmp_path.glob("part-*"))


def test_a_part_that_is_half_written_is_none(tmp_path, monkeypatch):
    def broken(self, path):
        path.write_bytes(b"PAR1")
        raise OSError("disk")

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_parquet", broken)
        with pytest.raises(OSError, match="disk"):
            answer_in_parts(tmp_path, records(4), Answering(), size=2)
    again = Answering()
    assert answer_in_parts(tmp_path, records(4), again, size=2)["id"].tolist() == [0, 1, 2, 3]
    assert again.asked == [0, 1, 2, 3]
