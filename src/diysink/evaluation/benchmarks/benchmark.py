"""What a benchmark is: which questions, what is added to each, and when an answer is right."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from diysink.engine import Once, made_there
from diysink.evaluation.benchmarks.hub import hub_folder
from diysink.evaluation.benchmarks.published import MissingFilesError
from diysink.evaluation.item import Item
from diysink.evaluation.metrics import METRICS
from diysink.records import Record, Records, SourceError, Turn


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
    """Questions about images with reference answers.

    Attributes:
        name: in tables, and of the folder with its published files.
        split: of the prepared records, or whatever the loader makes of it.
        metric: a key of `diysink.evaluation.metrics.METRICS`.
        suffix: added to every question, such as how long the answer may be.
        load: gives the records, from a folder and the split. Of a published benchmark they are
            `diysink.evaluation.item.Item`.
        published: whether it reads its own published files, and not the run's prepared records.
        files: the published files that the loader looks for in the folder, in words.
        hub: id of the data set on the hub whose files the loader reads, too; ``id@revision``.
        hub_files: patterns of the files there that it needs; (): all.
        licence: of the published files, as far as it is known.
        size: how many items, and what the files take, as far as it is known.
        max_new_tokens: length limit of an answer; None: the run's.
        group: what its questions ask for, ``global`` or ``local``, as the paper sorts it; None: the
            paper does not say, or its items say it themselves.

    Raises:
        ValueError: an unknown metric.
    """

    name: str
    split: str = "test"
    metric: str = "exact"
    suffix: str = ""
    load: Loader = prepared
    published: bool = False
    files: tuple[str, ...] = ()
    hub: str | None = None
    hub_files: tuple[str, ...] = ()
    licence: str | None = None
    size: str | None = None
    max_new_tokens: int | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(
                f"the metric of benchmark {self.name!r} is {self.metric!r}; expected "
                f"{' or '.join(METRICS)}"
            )

    def items(self, folder: Path, *, download: bool = False) -> "Questions":
        """The items, with the suffix added to each question.

        Args:
            folder: of the prepared records, or of the published files. Where it has none of these,
                they are looked for in the local cache of the hub.
            download: whether the hub is asked for files that are not in its cache. Nothing goes
                over the network otherwise.

        Raises:
            SourceError: the published files are nowhere, or cannot be read.
        """
        source = Once(_questions, (self, folder, download))
        return Questions(self._load(folder, download), self.suffix, self.group, source)

    def _load(self, folder: Path, download: bool) -> Items:
        try:
            return self.load(folder, self.split)
        except MissingFilesError:
            cached = self.hub and hub_folder(self.hub, self.hub_files, download=download)
        if cached:
            with suppress(MissingFilesError):
                return self.load(cached, self.split)
        raise SourceError(self._missing(folder))

    def _missing(self, folder: Path) -> str:
        hub = (
            f"They are not in the local cache of the hub either (data set {self.hub}); "
            "download=True asks the hub for them. "
            if self.hub
            else ""
        )
        return (
            f"The files of benchmark {self.name!r} are not in {folder}. Expected: "
            f"{'; or '.join(self.files)}. {hub}Licence: {self.licence or 'unknown'}; size: "
            f"{self.size or 'unknown'} (neither is verified: read the publisher's page)."
        )


@dataclass(frozen=True)
class Questions:
    """The items of a benchmark as they are asked; each is made when it is read.

    Attributes:
        inner: as they are published.
        suffix: added to every question.
        group: of items that name none.
        source: opens them again in another process.
    """

    inner: Items
    suffix: str = ""
    group: str | None = None
    source: "Once[Questions] | None" = field(default=None, compare=False)

    def __reduce__(self) -> Any:
        return made_there(self.source)

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int, /) -> Item:
        item = Item.of(self.inner[index])
        question, *rest = item.conversations
        asked = Turn(question.speaker, question.text + self.suffix)
        return replace(item, conversations=(asked, *rest), group=item.group or self.group)


def _questions(benchmark: Benchmark, folder: Path, download: bool) -> Questions:
    return benchmark.items(folder, download=download)
