"""A benchmark answered in parts: nothing is lost when a run is stopped, and several share the work.

Each part is a parquet file that is there whole or not at all. A process takes a part that nobody is
at, so two processes that are given the same folder each do about half. What is finished stays: a
run that is started again answers what is left.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from diysink.artifact import FileLock, atomic_path
from diysink.engine import Engine, LocalEngine
from diysink.evaluation.benchmarks import Items
from diysink.records import Record

PREDICTIONS = "predictions.parquet"
POLL = 0.5
"""Seconds after which it is looked again whether others have finished their parts."""


@dataclass(frozen=True)
class Part:
    """Items from ``start`` to before ``stop``; each is made when it is read."""

    items: Items
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int, /) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.items[self.start + index]


def answer_in_parts(
    folder: Path,
    items: Items,
    answer: Callable[[Part], pd.DataFrame],
    *,
    size: int,
    limit: int | None = None,
    engine: Engine | None = None,
) -> pd.DataFrame:
    """The answers to all items, from this process and from others at the same folder.

    Args:
        folder: where the parts are kept, and ``predictions.parquet`` when all are there. It must be
            another one for other items or another model.
        items: of a benchmark; for an engine with workers they can be pickled.
        answer: the table of predictions of some items; for workers it can be pickled, too.
        size: items of a part, of which no more are lost when a process is stopped.
        limit: the first so many items; None: all.
        engine: where parts are answered; None: in this process. This process alone writes them.
    """
    whole = folder / PREDICTIONS
    total = len(items) if limit is None else min(limit, len(items))
    ends = {start: min(start + size, total) for start in range(0, total, size)}
    parts = {start: folder / f"part-{start:08d}-{stop:08d}.parquet" for start, stop in ends.items()}
    left, locks = dict(parts), dict[int, FileLock]()

    def free() -> Iterator[Part]:
        """Parts that nobody has finished or is at; each is this process's until it is written."""
        for start, path in list(left.items()):
            if whole.is_file():
                return
            lock = FileLock(path.with_suffix(".lock"))
            if not lock.acquire(wait=False):
                continue
            if path.is_file() or whole.is_file():
                lock.release(remove=True)
                del left[start]
                continue
            locks[start] = lock
            yield Part(items, start, ends[start])

    while not whole.is_file():
        try:
            for part, table in (engine or LocalEngine()).run(answer, free()):
                _write(parts[part.start], table)
                locks.pop(part.start).release(remove=True)
                del left[part.start]
        finally:
            for lock in locks.values():
                lock.release(remove=True)
            locks.clear()
        if not left:
            _once(whole, partial(_put_together, list(parts.values()), whole))
        if not whole.is_file():  # others are at what is left, or put it together
            time.sleep(POLL)
    return pd.read_parquet(whole)


def _once(path: Path, make: Callable[[], None]) -> None:
    """Make a file that nobody is making."""
    lock = FileLock(path.with_suffix(".lock"))
    if not lock.acquire(wait=False):
        return
    try:
        if not path.is_file():
            make()
    finally:
        lock.release(remove=True)


def _put_together(parts: Sequence[Path], whole: Path) -> None:
    _write(whole, pd.concat([pd.read_parquet(path) for path in parts], ignore_index=True))
    for path in whole.parent.glob("part-*.parquet"):  # of other sizes, too
        path.unlink(missing_ok=True)


def _write(path: Path, table: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        table.to_parquet(temporary)
