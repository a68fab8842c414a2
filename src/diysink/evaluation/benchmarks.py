"""Benchmarks: which questions, what is added to each, and when an answer is right.

To add one, add a row to `BENCHMARKS`, with a loader of its records where they are not a split of
the run's own. `evaluate.benchmarks` in the parameters names the rows that a run uses.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from diysink.evaluation.metrics import METRICS
from diysink.records import Record, Records, Turn


@runtime_checkable
class Items(Protocol):
    """Records that are read one at a time, such as `diysink.records.Records` or a list."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int, /) -> Record:
        """The record at an index."""
        ...


Loader = Callable[[Path, str], Items]


def prepared(records: Path, split: str) -> Items:
    """One split of a folder of prepared records.

    Raises:
        ValueError: there is no split of this name.
    """
    if not (records / split).is_dir():
        known = sorted(path.name for path in records.iterdir() if path.is_dir())
        raise ValueError(
            f"the benchmark's split is {split!r}, but the records have "
            f"{', '.join(known) or 'no splits'}"
        )
    return Records(records / split)


@dataclass(frozen=True)
class Benchmark:
    """Questions about images with a reference answer each.

    Attributes:
        name: in tables.
        split: of the prepared records, or whatever the loader makes of it.
        metric: a key of `diysink.evaluation.metrics.METRICS`.
        suffix: added to every question, such as how long the answer may be.
        load: gives the records, from the folder of prepared records and the split.

    Raises:
        ValueError: an unknown metric.
    """

    name: str
    split: str = "test"
    metric: str = "exact"
    suffix: str = ""
    load: Loader = prepared

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(
                f"the metric of benchmark {self.name!r} is {self.metric!r}; expected "
                f"{' or '.join(METRICS)}"
            )

    def records(self, folder: Path) -> Items:
        """The records, with the suffix added to each question.

        Args:
            folder: of the prepared records.
        """
        records = self.load(folder, self.split)
        return _Suffixed(records, self.suffix) if self.suffix else records


BENCHMARKS = {
    row.name: row
    for row in (
        Benchmark("test"),  # short answers, as the miniature's
        Benchmark("sentences", metric="contains"),  # for models that answer in sentences
        Benchmark("short", suffix="\nAnswer the question using a single word or phrase."),  # LLaVA
    )
}


@dataclass(frozen=True)
class _Suffixed:
    """Records whose questions end with a suffix; each is made when it is read."""

    inner: Items
    suffix: str

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int, /) -> Record:
        record = self.inner[index]
        question, *rest = record.conversations
        asked = Turn(question.speaker, question.text + self.suffix)
        return replace(record, conversations=(asked, *rest))
