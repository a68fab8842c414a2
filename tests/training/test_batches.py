"""Batches are a pure function of (seed, step, rank, world size)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.training import BatchSchedule


def schedule(**changes):
    return BatchSchedule(**{"items": 23, "batch": 2, "steps": 40, "seed": 5, **changes})


def flat(batches):
    return [index for batch in batches for index in batch]


@given(st.integers(0, 40))
def test_resuming_yields_the_rest_of_the_run(start):
    assert list(schedule(start=start)) == list(schedule())[start:]
    assert len(schedule(start=start)) == 40 - start


def test_every_record_comes_once_in_an_epoch_and_in_another_order_in_the_next():
    batches = list(schedule())
    per = schedule().per_epoch
    first, second = flat(batches[:per]), flat(batches[per : 2 * per])
    assert len(set(first)) == len(first) == 22
    assert first != second
    assert set(first) <= set(range(23))


@given(st.integers(2, 4))
def test_processes_share_an_epoch_without_overlap(world):
    step = [schedule(rank=rank, world=world).at(3) for rank in range(world)]
    assert len(set(flat(step))) == 2 * world


def test_a_world_of_two_sees_the_global_batches_of_one():
    one = schedule(batch=4)
    two = [schedule(batch=2, rank=rank, world=2) for rank in (0, 1)]
    assert [sorted(one.at(s)) for s in range(9)] == [
        sorted(two[0].at(s) + two[1].at(s)) for s in range(9)
    ]


def test_seeds_differ():
    assert list(schedule()) != list(schedule(seed=6))


def test_too_few_records_are_an_error():
    with pytest.raises(ValueError, match=r"23 records are fewer than one global batch of 12 x 2"):
        schedule(batch=12, world=2)
