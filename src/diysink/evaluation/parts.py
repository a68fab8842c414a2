"""A benchmark answered in parts: nothing is lost when a run is stopped, and several share the work.

Each part is a parquet file that is there whole or not at all. A process takes a part that nobody is
at, so two processes that are given the same folder each do about half. What is finished stays: a
run that is started again answers what is left.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from diysink.artifact import FileLock, atomic_path
from diysink.evaluation.benchmarks import Items
from diysink.records import Record

PREDICTIONS = "predictions.parquet"


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
    answer: Callable[[Items], pd.DataFrame],
    *,
    size: int,
    limit: int | None = None,
) -> pd.DataFrame:
    """The answers to all items, from this process and from others at the same folder.

    Args:
        folder: where the parts are kept, and ``predictions.parquet`` when all are there. It must be
            another one for other items, another model or another size.
        items: of a benchmark.
        answer: the table of predictions of some items.
        size: items of a part, of which no more are lost when a process is stopped.
        limit: the first so many items; None: all.
    """
    whole = folder / PREDICTIONS
    if whole.is_file():
        return pd.read_parquet(whole)
    total = len(items) if limit is None else min(limit, len(items))
    parts = {
        folder / f"part-{start:08d}.parquet": Part(items, start, min(start + size, total))
        for start in range(0, total, size)
    }
    for wait in (False, True):  # first what nobody is at; then what others have not finished
        for path, part in parts.items():
            _answer_one(path, part, answer, wait=wait)
            if whole.is_file():  # another process has put them together
                return pd.read_parquet(whole)
    with FileLock(folder / "whole.lock", what=str(whole)):
        if not whole.is_file():
            tables = [pd.read_parquet(path) for path in parts]
            with atomic_path(whole) as temporary:
                pd.concat(tables, ignore_index=True).to_parquet(temporary)
        for path in parts:
            path.unlink(missing_ok=True)
    return pd.read_parquet(whole)


def _answer_one(
    path: Path, part: Part, answer: Callable[[Items], pd.DataFrame], *, wait: bool
) -> None:
    whole = path.with_name(PREDICTIONS)
    if path.is_file() or whole.is_file():
        return
    lock = FileLock(path.with_suffix(".lock"), what=str(path))
    if not lock.acquire(wait=wait):
        return
    try:
        if not path.is_file() and not whole.is_file():
            with atomic_path(path) as temporary:
                answer(part).to_parquet(temporary)
    finally:
        lock.release(remove=True)
