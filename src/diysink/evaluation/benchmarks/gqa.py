"""GQA (arXiv 1902.09506): questions about scenes, one word each.

LLaVA-1.5 reports the balanced test-dev split. The paper sorts GQA as local.
"""

from collections.abc import Callable
from pathlib import Path

from diysink.evaluation.benchmarks.published import (
    MissingFilesError,
    PublishedItems,
    Row,
    ask,
    text,
)
from diysink.evaluation.benchmarks.readers import (
    Images,
    JSONFile,
    ParquetRows,
    Rows,
    Storage,
    embedded,
)
from diysink.evaluation.item import Item
from diysink.records import BadItemError, ImageFile, Reason

FILES = (
    "testdev_balanced_questions.json (or in questions1.2.zip) and images/<id>.jpg (or images.zip)",
    "testdev_balanced_instructions/*.parquet and testdev_balanced_images/*.parquet",
)


def gqa(folder: Path, split: str) -> PublishedItems:
    """The questions of ``<split>_questions.json``, or of the mirror's two configurations.

    Args:
        folder: of the published files.
        split: such as ``testdev_balanced``.
    """
    storage = Storage(folder)
    rows: Rows
    if files := storage.find(f"{split}_questions.json"):
        rows = JSONFile(files[0], key="id")
        images = Images(storage, "images", ".")
        return _items(rows, lambda name: images.read(f"{name}.jpg"))
    questions = storage.find(f"{split}_instructions/*.parquet")
    pictures = storage.find(f"{split}_images/*.parquet")
    if not questions or not pictures:
        raise MissingFilesError(folder)
    return _items(ParquetRows(questions), _Pictures(ParquetRows(pictures)))


class _Pictures:
    """Images by their id, where they are a table of their own."""

    def __init__(self, rows: ParquetRows) -> None:
        names = rows.only("id")
        self._rows = rows
        self._number = {text(names[number], "id"): number for number in range(len(names))}

    def __call__(self, name: str) -> ImageFile:
        if name not in self._number:
            raise BadItemError(Reason.MISSING_FILE, f"image {name!r} is not in {self._rows.name}")
        return embedded(self._rows[self._number[name]]["image"])


def _items(rows: Rows, image: Callable[[str], ImageFile]) -> PublishedItems:
    def make(row: Row, number: int) -> Item:
        return ask(
            text(row, "id"),
            text(row, "question"),
            [image(text(row, "imageId"))],
            text(row, "answer"),
        )

    return PublishedItems(rows, make, ("id", "question", "imageId", "answer"))
