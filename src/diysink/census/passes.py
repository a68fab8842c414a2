"""Passes over images, batch by batch on an engine, that go on where they were stopped.

A batch is measured by a pure function, wherever it runs, and the sums of batches are added in the
order of the images: so with as many threads of torch the result is the same to the last bit for any
engine and any number of workers.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from diysink.artifact import digest_json
from diysink.census.images import Images, LeftOut, read_images
from diysink.engine import Engine, LocalEngine
from diysink.records import ImageFile

NAMED = 20  # images left out that a card names
HELD = 64  # batches at a time, whose sums may have to wait for one before them
logger = logging.getLogger(__name__)


@runtime_checkable
class Sums(Protocol):
    """Sums that know of which images they are."""

    count: int
    chain: str

    @property
    def settled(self) -> bool:
        """Whether later images need nothing more of these: so they can be measured side by side."""
        ...

    def begin(self) -> Any:
        """Empty sums for the next images, with what they need to know of these."""
        ...

    def add_sums(self, other: Any) -> None:
        """Add the sums of more images; whoever adds counts the images."""
        ...

    def save(self, path: Path) -> None:
        """Write them."""


S = TypeVar("S", bound=Sums)


@dataclass(frozen=True)
class Batch(Generic[S]):
    """Some images, and the empty sums that they are to be added to.

    Attributes:
        number: its place among those that are handed out together, from 0.
        sums: from `Sums.begin`.
        images: to measure.
    """

    number: int
    sums: S
    images: tuple[ImageFile, ...]


@dataclass
class Pass:
    """One pass over images.

    Attributes:
        images: see `diysink.census.read_images`.
        limit: of images; None: all.
        batch_size: images that are measured at a time.
        save_every: batches between two looks at the disk.
        progress: whether a bar is shown.
        engine: where batches are measured; None: in this process.
        refused: images that cannot be read.
    """

    images: Images
    limit: int | None
    batch_size: int = 1
    save_every: int = 8
    progress: bool = False
    engine: Engine | None = None
    refused: list[LeftOut] = field(default_factory=list)

    def run(
        self, begun: S, fresh: Callable[[], S], measure: Callable[[Batch[S]], S],
        file: Path | None, what: str,
    ) -> S:  # fmt: skip
        """Add all images that are not in the sums yet.

        Args:
            begun: sums of the first images; if they are of other images, all is done anew.
            fresh: empty sums.
            measure: the sums of a batch; for an engine with workers it can be pickled.
            file: where the sums are kept on the way; None: nowhere.
            what: is done, for the bar.

        Raises:
            SourceError: there is no image.
        """
        if begun.count:
            logger.info("%d images were measured before", begun.count)
        for sums in (begun, fresh()):
            self.refused.clear()
            try:
                self._add(sums, measure, file, what)
            except _OtherImagesError:
                continue
            if file is not None:
                sums.save(file)
            for one in self.refused[:NAMED]:
                logger.warning("left out: %s: %s", one.name, one.reason)
            return sums
        raise AssertionError("empty sums are of no other images")

    def _add(self, sums: S, measure: Callable[[Batch[S]], S], file: Path | None, what: str) -> None:
        engine = LocalEngine() if self.engine is None else self.engine
        onward = self._onward(sums, what)
        batches = chain(list(islice(onward, 1)), onward)  # here other images are noticed

        def add(some: Iterable[list[ImageFile]]) -> None:
            tasks = (Batch(number, sums.begin(), tuple(one)) for number, one in enumerate(some))
            for batch, part in in_order(engine.run(measure, tasks)):
                sums.add_sums(part)
                sums.count += len(batch.images)
                for image in batch.images:
                    sums.chain = digest_json([sums.chain, image.sha256])
                if file is not None and (batch.number + 1) % self.save_every == 0:
                    sums.save(file)

        # One by one while it is still chosen what later images are measured by.
        while not sums.settled and (first := next(batches, None)) is not None:
            add([first])
        while some := list(islice(batches, HELD)):
            add(some)

    def about(self, sums: Sums) -> dict[str, Any]:
        """What a card says of the images."""
        return {
            "count": sums.count,
            "digest": sums.chain,
            "left_out": len(self.refused),
            "left_out_names": [f"{one.name}: {one.reason}" for one in self.refused[:NAMED]],
        }

    def _onward(self, sums: Sums, what: str) -> Iterator[list[ImageFile]]:
        """Batches of the images after those that the sums are of."""
        met, chain, done, batch = 0, "", sums.count, list[ImageFile]()
        with Progress(
            "[progress.description]{task.description}", MofNCompleteColumn(), TimeElapsedColumn(),
            console=Console(stderr=True), disable=not self.progress,
        ) as bar:  # fmt: skip
            task = bar.add_task(what, total=self.limit)
            for item in read_images(self.images, self.limit):
                if isinstance(item, LeftOut):
                    self.refused.append(item)
                    continue
                bar.advance(task)
                if met < done:
                    met, chain = met + 1, digest_json([chain, item[1].sha256])
                    if met == done and chain != sums.chain:
                        raise _OtherImagesError
                    continue
                batch.append(item[1])
                if len(batch) == self.batch_size:
                    yield batch
                    batch = []
            if batch:
                yield batch
        if met < done:
            raise _OtherImagesError


def in_order(done: Iterable[tuple[Batch[S], S]]) -> Iterator[tuple[Batch[S], S]]:
    """Results in the order of the batches, whichever was ready first."""
    waiting: dict[int, tuple[Batch[S], S]] = {}
    wanted = 0
    for batch, part in done:
        waiting[batch.number] = batch, part
        while wanted in waiting:
            yield waiting.pop(wanted)
            wanted += 1


class _OtherImagesError(Exception):
    """The sums are of other images than these."""
