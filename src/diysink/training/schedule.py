"""Which records make which batch: a pure function of (seed, step, rank, world size).

A run is one long sequence of batches, taken from one shuffle of the records after another. Nothing
is remembered but the step: the batch at step 731 is the same in a run that started at 0 and in one
that was killed and resumed at 700.

A shuffle of a million records is not one of all of them, which would read them from everywhere on
the disk. The shards are shuffled, some of them in a row are a buffer, and the records of a buffer
are shuffled: a disk reads one buffer after another, each once. Records that fit into one buffer are
shuffled all together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from jaxtyping import Int
from torch.utils.data import Sampler

BUFFER = 16_384
MEGA_BATCH = 50
"""Global batches that are sorted by length together, as transformers' ``group_by_length`` does."""

Indices = Int[np.ndarray, " _"]


@dataclass(frozen=True)
class Shuffle:
    """The order of all records in each epoch.

    Attributes:
        ends: for each shard how many records there are up to its end.
        seed: of the shuffles.
        buffer: how many records are shuffled together, at least; shards are never split.
    """

    ends: tuple[int, ...]
    seed: int
    buffer: int = BUFFER

    def between(self, epoch: int, first: int, stop: int) -> Indices:
        """The records at the places ``first`` to ``stop`` of an epoch."""
        starts = _starts(self, epoch)
        low, high = np.searchsorted(starts, [first, stop - 1], side="right") - 1
        found = np.concatenate(
            [_shuffled(self, epoch, number) for number in range(low, high + 1)]
            or [np.zeros(0, int)]
        )
        return found[first - starts[low] : stop - starts[low]]


@lru_cache(maxsize=4)
def _buffers(shuffle: Shuffle, epoch: int) -> list[list[int]]:
    """The shards of each buffer."""
    ends = shuffle.ends
    if ends[-1] <= shuffle.buffer:
        return [list(range(len(ends)))]
    buffers: list[list[int]] = [[]]
    size = 0
    for shard in np.random.default_rng([shuffle.seed, epoch]).permutation(len(ends)).tolist():
        if size >= shuffle.buffer:
            buffers.append([])
            size = 0
        buffers[-1].append(shard)
        size += len(_of_shard(shuffle, shard))
    return buffers


@lru_cache(maxsize=4)
def _starts(shuffle: Shuffle, epoch: int) -> Indices:
    """The place of each buffer's first record."""
    sizes = [sum(len(_of_shard(shuffle, s)) for s in each) for each in _buffers(shuffle, epoch)]
    return np.cumsum([0, *sizes[:-1]])


@lru_cache(maxsize=4)  # a global batch at the border of two buffers needs both
def _shuffled(shuffle: Shuffle, epoch: int, number: int) -> Indices:
    buffers = _buffers(shuffle, epoch)
    records = np.concatenate([_of_shard(shuffle, shard) for shard in buffers[number]])
    key = [shuffle.seed, epoch] if len(buffers) == 1 else [shuffle.seed, epoch, number]
    return records[np.random.default_rng(key).permutation(len(records))]


def _of_shard(shuffle: Shuffle, shard: int) -> Indices:
    return np.arange(shuffle.ends[shard - 1] if shard else 0, shuffle.ends[shard])


@dataclass
class BatchSchedule(Sampler[list[int]]):
    """Indices of every micro-batch of a run, for one of ``world_size`` processes.

    Attributes:
        items: number of records.
        batch_size: records per micro-batch and process.
        num_batches: micro-batches of the whole run.
        seed: seed of the shuffles.
        rank: this process.
        world_size: number of processes.
        start: first micro-batch to yield; set when a run resumes.
        ends: for each shard how many records there are up to its end; without it there is one.
        lengths: of each record, in any unit; with them 50 global batches at a time are sorted by
            length, so that a batch has records of about one length, and come in an order drawn
            anew. None: not sorted.
        buffer: how many records are shuffled together; see `Shuffle`.

    Raises:
        ValueError: fewer records than one global batch needs.
    """

    items: int
    batch_size: int
    num_batches: int
    seed: int
    rank: int = 0
    world_size: int = 1
    start: int = field(default=0, compare=False)
    ends: Sequence[int] = field(default=(), repr=False)
    lengths: Indices | None = field(default=None, repr=False, compare=False)
    buffer: int = BUFFER

    def __post_init__(self) -> None:
        if self.items < self.batch_size * self.world_size:
            raise ValueError(
                f"{self.items} records are fewer than one global batch of {self.batch_size} x "
                f"{self.world_size}: give more records or a smaller batch"
            )
        ends = tuple(int(end) for end in self.ends) or (self.items,)
        if ends[-1] != self.items:
            raise ValueError(f"shards of {ends[-1]} records in all, but there are {self.items}")
        self._shuffle = Shuffle(ends, self.seed, self.buffer)
        self._mega: tuple[int, int, Indices] | None = None

    @property
    def per_epoch(self) -> int:
        """Micro-batches in one shuffle; the records left over wait for the next one."""
        return self.items // (self.batch_size * self.world_size)

    def at(self, step: int) -> list[int]:
        """Indices of this process's micro-batch number ``step``."""
        epoch, offset = divmod(step, self.per_epoch)
        size = self.batch_size * self.world_size
        if self.lengths is None:
            of_all = self._shuffle.between(epoch, offset * size, (offset + 1) * size)
        else:
            of_all = self._mega_batch(epoch, offset // MEGA_BATCH)[offset % MEGA_BATCH]
        first = self.rank * self.batch_size
        found: list[int] = of_all[first : first + self.batch_size].tolist()
        return found

    def _mega_batch(self, epoch: int, number: int) -> Int[np.ndarray, "batches size"]:
        """Some global batches, each of records of about one length."""
        if self._mega is None or self._mega[:2] != (epoch, number):
            size, first = self.batch_size * self.world_size, number * MEGA_BATCH
            last = min(first + MEGA_BATCH, self.per_epoch)
            records = self._shuffle.between(epoch, first * size, last * size)
            assert self.lengths is not None
            by_length = records[np.argsort(self.lengths[records], kind="stable")].reshape(-1, size)
            order = np.random.default_rng([self.seed, epoch, number, 1]).permutation(last - first)
            self._mega = epoch, number, by_length[order]
        return self._mega[2]

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.num_batches):
            yield self.at(step)

    def __len__(self) -> int:
        """Of the whole run: Lightning goes on counting where the checkpoint stopped."""
        return self.num_batches
