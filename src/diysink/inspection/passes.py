"""Passes over images that go on where they were stopped."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from diysink.artifact import digest_json
from diysink.census.images import Images, LeftOut, read_images
from diysink.records import ImageFile

SAVE_EVERY = 16  # images between two looks at the disk


@runtime_checkable
class Kept(Protocol):
    """Sums that know of which images they are."""

    count: int
    chain: str

    def save(self, path: Path) -> None:
        """Write them."""


Sums = TypeVar("Sums", bound=Kept)


@dataclass
class Pass:
    """One pass over images, one by one.

    Attributes:
        images: see `diysink.census.read_images`.
        limit: of images; None: all.
        progress: whether a bar is shown.
        refused: images that cannot be read.
    """

    images: Images
    limit: int | None
    progress: bool = False
    refused: list[LeftOut] = field(default_factory=list)

    def run(
        self, sums: Sums, fresh: Callable[[], Sums], add: Callable[[Sums, ImageFile], Any],
        file: Path | None, what: str,
    ) -> Sums:  # fmt: skip
        """Add all images that are not in the sums yet.

        Args:
            sums: of the first images; of other images, it is begun anew.
            fresh: empty sums.
            add: adds an image to sums.
            file: where the sums are kept on the way; None: nowhere.
            what: is done, for the bar.

        Raises:
            SourceError: there is no image.
        """
        for begun in (sums, fresh()):
            self.refused.clear()
            try:
                for image in self._onward(begun, what):
                    add(begun, image)
                    if file is not None and begun.count % SAVE_EVERY == 0:
                        begun.save(file)
            except _OtherImagesError:
                continue
            if file is not None:
                begun.save(file)
            return begun
        raise AssertionError("empty sums are of no other images")

    def _onward(self, sums: Kept, what: str) -> Iterator[ImageFile]:
        """Images after those that the sums are of."""
        met, chain, done = 0, "", sums.count
        with Progress(
            "[progress.description]{task.description}", MofNCompleteColumn(), TimeElapsedColumn(),
            console=Console(stderr=True), disable=not self.progress,
        ) as bar:  # fmt: skip
            task = bar.add_task(what, total=self.limit)
            for item in read_images(self.images, self.limit):
                if isinstance(item, LeftOut):
                    self.refused.append(item)
                    continue
                if met < done:
                    met, chain = met + 1, digest_json([chain, item[1].sha256])
                    if met == done and chain != sums.chain:
                        raise _OtherImagesError
                else:
                    yield item[1]
                bar.advance(task)
        if met < done:
            raise _OtherImagesError


class _OtherImagesError(Exception):
    """The sums are of other images than these."""
