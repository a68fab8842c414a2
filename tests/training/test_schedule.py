"""The order of records: today's where they fit into one buffer, by the shard where they do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diysink.training import BatchSchedule

SHARDS = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(lambda s: sum(s) >= 24)


def schedule(sizes, *, grouped=False, **changes):
    ends = tuple(np.cumsum(sizes).tolist())
    lengths = np.random.default_rng(1).integers(1, 99, ends[-1]) if grouped else None
    options = {"batch_size": 2, "num_batches": 40, "seed": 5, "buffer": 7} | changes
    return BatchSchedule(ends[-1], ends=ends, lengths=lengths, **options)


@given(SHARDS, st.integers(1, 4), st.integers(1, 3), st.booleans(), st.integers(0, 2))
def test_ranks_share_an_epoch_each_record_once(sizes, world, batch, grouped, epoch):
    ranks = [
        schedule(sizes, grouped=grouped, rank=rank, world_size=world, batch_size=batch)
        for rank in range(world)
    ]
    per = ranks[0].per_epoch
    steps = range(epoch * per, (epoch + 1) * per)
    seen = [index for step in steps for rank in ranks for index in rank.at(step)]
    assert len(seen) == len(set(seen)) == sum(sizes) // (world * batch) * world * batch
    assert set(seen) <= set(range(sum(sizes)))


@given(SHARDS, st.integers(0, 39), st.booleans())
def test_resuming_yields_the_rest_of_the_run(sizes, start, grouped):
    whole = list(schedule(sizes, grouped=grouped))
    assert list(schedule(sizes, grouped=grouped, start=start)) == whole[start:]
    assert schedule(sizes, grouped=grouped).at(start) == whole[start]  # whatever was asked before


@given(SHARDS, st.booleans())
def test_two_processes_see_the_global_batches_of_one(sizes, grouped):
    one = schedule(sizes, grouped=grouped, batch_size=4)
    two = [schedule(sizes, grouped=grouped, rank=rank, world_size=2) for rank in (0, 1)]
    for step in range(one.per_epoch):
        assert one.at(step) == two[0].at(step) + two[1].at(step)


@settings(max_examples=20)
@given(SHARDS)
def test_what_fits_into_one_buffer_is_shuffled_as_it_was_without_shards(sizes):
    """The recorded results of the miniature stand on this order."""
    items = sum(sizes)
    by_hand = np.random.default_rng([5, 1]).permutation(items)[:2]
    kept = schedule(sizes, buffer=items)
    assert kept.at(kept.per_epoch) == by_hand.tolist()
    assert list(kept) == list(BatchSchedule(items, 2, 40, seed=5))


def test_a_buffer_is_read_to_its_end_before_the_next():
    """Shards of 3 in buffers of 6: two shards at a time, and each once."""
    shards = [
        index // 3 for batch in schedule([3] * 8, buffer=6, num_batches=12) for index in batch
    ]
    buffers = [set(shards[first : first + 6]) for first in range(0, 24, 6)]
    assert [len(each) for each in buffers] == [2] * 4
    assert set.union(*buffers) == set(range(8))
    records = [index for batch in schedule([3] * 8, buffer=6, num_batches=12) for index in batch]
    assert records[:6] != sorted(records[:6])


def test_batches_by_length_are_even_and_come_in_any_order():
    plain, grouped = (schedule([10] * 40, grouped=g, num_batches=200) for g in (False, True))
    lengths = grouped.lengths
    spread = {
        name: np.mean([np.ptp(lengths[batch]) for batch in batches])
        for name, batches in (("plain", plain), ("grouped", grouped))
    }
    assert spread["grouped"] < spread["plain"] / 5
    assert sorted(i for b in plain for i in b) == sorted(i for b in grouped for i in b)
    longest = [lengths[batch].max() for batch in grouped]
    assert longest[:50] != sorted(longest[:50])


@pytest.mark.parametrize("grouped", [False, True])
def test_a_million_records_do_not_make_a_step_long(grouped):
    """Not timed: what is drawn for one step is a buffer and no more."""
    sizes = [1000] * 1000
    at = schedule(sizes, grouped=grouped, buffer=16_384, batch_size=8)
    assert len({index // 1000 for step in range(50) for index in at.at(step)}) <= 17
