"""Passes over images that go on where they were stopped."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from diysink.artifact import digest_json
from diysink.census.images import Images, LeftOut, read_images
from diysink.records import ImageFile

NAMED = 20  # images left out that a card names
logger = logging.getLogger(__name__)


@runtime_checkable
class Resumable(Protocol):
    """Sums that know of which images they are."""

    count: int
    chain: str

    def save(self, path: Path) -> None:
        """Write them."""


Sums = TypeVar("Sums", bound=Resumable)


@dataclass
class Pass:
    """One pass over images.

    Attributes:
        images: see `diysink.census.read_images`.
        limit: of images; None: all.
        batch_size: images that are added at a time.
        save_every: batches between two looks at the disk.
        progress: whether a bar is shown.
        refused: images that cannot be read.
    """

    images: Images
    limit: int | None
    batch_size: int = 1
    save_every: int = 8
    progress: bool = False
    refused: list[LeftOut] = field(default_factory=list)

    def run(
        self, begun: Sums, fresh: Callable[[], Sums],
        add: Callable[[Sums, Sequence[ImageFile]], None], file: Path | None, what: str,
    ) -> Sums:  # fmt: skip
        """Add all images that are not in the sums yet.

        Args:
            begun: sums of the first images; if they are of other images, all is done anew.
            fresh: empty sums.
            add: measures a batch; `Pass` counts it.
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
                for number, batch in enumerate(self._onward(sums, what), 1):
                    add(sums, batch)
                    sums.count += len(batch)
                    for image in batch:
                        sums.chain = digest_json([sums.chain, image.sha256])
                    if file is not None and number % self.save_every == 0:
                        sums.save(file)
            except _OtherImagesError:
                continue
            if file is not None:
                sums.save(file)
            for one in self.refused[:NAMED]:
                logger.warning("left out: %s: %s", one.name, one.reason)
            return sums
        raise AssertionError("empty sums are of no other images")

    def about(self, sums: Resumable) -> dict[str, Any]:
        """What a card says of the images."""
        return {
            "count": sums.count,
            "digest": sums.chain,
            "left_out": len(self.refused),
            "left_out_names": [f"{one.name}: {one.reason}" for one in self.refused[:NAMED]],
        }

    def _onward(self, sums: Resumable, what: str) -> Iterator[list[ImageFile]]:
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


class _OtherImagesError(Exception):
    """The sums are of other images than these."""
