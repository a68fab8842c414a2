"""CV-Bench (Cambrian-1, arXiv 2406.16860): counting, relations, depth and distance; used by LSG.

The prompt is the published one with its options. Group: the paper names counting and position as
local; of depth and distance it says nothing.
"""

from pathlib import Path

from diysink.evaluation.benchmarks.published import (
    MissingFilesError,
    PublishedItems,
    Row,
    ask,
    letter_of,
    text,
    texts,
)
from diysink.evaluation.benchmarks.readers import ParquetRows, Storage, embedded
from diysink.evaluation.item import Item

FILES = ("test_2d.parquet and test_3d.parquet", "2D/test-*.parquet and 3D/test-*.parquet")
GROUPS = {"Count": "local", "Relation": "local"}


def cvbench(folder: Path, split: str) -> PublishedItems:
    """The questions in two and in three dimensions; ``split`` is ``test``."""
    storage = Storage(folder)
    for names in (f"{split}_{{}}d.parquet", f"{{}}D/{split}-*.parquet"):
        parts = [storage.find(names.format(dimensions)) for dimensions in (2, 3)]
        if all(parts):
            needs = ("idx", "type", "task", "image", "choices", "answer", "prompt", "source")
            return PublishedItems(ParquetRows(parts[0] + parts[1]), _item, needs)
    raise MissingFilesError(folder)


def _item(row: Row, number: int) -> Item:
    options, task = texts(row, "choices"), text(row, "task")
    return ask(
        f"{text(row, 'type')}-{text(row, 'idx')}",
        text(row, "prompt"),
        [embedded(row["image"])],
        letter_of(text(row, "answer"), options),
        options=options,
        subtask=task,
        group=GROUPS.get(task),
        labels=(text(row, "source"),),
        details={"type": text(row, "type")},
    )
