"""GQA (arXiv 1902.09506): questions about scenes, one word each.

LLaVA-1.5 reports the balanced test-dev split. The paper sorts GQA as local.
"""

import tempfile
import weakref
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
    """Images by their id, where they are a table of their own, in another order than the questions.

    They are copied to a temporary file once: parquet is slow to read out of order.
    """

    def __init__(self, rows: ParquetRows) -> None:
        self._name = rows.name
        self._copy = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self._copy.close)
        self._place: dict[str, tuple[int, int]] = {}
        for number in range(len(rows)):
            data = embedded(rows[number]["image"]).data
            self._place[text(rows[number], "id")] = (self._copy.tell(), len(data))
            self._copy.write(data)

    def __call__(self, name: str) -> ImageFile:
        if name not in self._place:
            raise BadItemError(Reason.MISSING_FILE, f"image {name!r} is not in {self._name}")
        start, length = self._place[name]
        self._copy.seek(start)
        return embedded(self._copy.read(length))


def _items(rows: Rows, image: Callable[[str], ImageFile]) -> PublishedItems:
    def make(row: Row, number: int) -> Item:
        return ask(
            text(row, "id"),
            text(row, "question"),
            [image(text(row, "imageId"))],
            text(row, "answer"),
        )

    return PublishedItems(rows, make, ("id", "question", "imageId", "answer"))
