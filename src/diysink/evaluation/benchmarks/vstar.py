"""V* (arXiv 2312.14135): small things in large images, their attributes and places.

Reviewers of the paper asked for it.
"""

import re
from pathlib import Path

from diysink.evaluation.benchmarks.published import (
    MissingFilesError,
    PublishedItems,
    Row,
    ask,
    letter_of,
    text,
)
from diysink.evaluation.benchmarks.readers import (
    Images,
    JSONLines,
    ParquetRows,
    Storage,
    embedded,
)
from diysink.evaluation.item import Item
from diysink.records import ImageFile

FILES = (
    "test_questions.jsonl, direct_attributes/<image> and relative_position/<image>",
    "test-*.parquet",
)
_ASKED = "Answer with the option's letter from the given choices directly."  # in most versions
_OPTION = re.compile(r"\(([A-D])\)\s*(.*?)\s*(?=\([A-D]\)|\Z)", re.DOTALL)


def vstar(folder: Path, split: str) -> PublishedItems:
    """All questions; ``split`` is ``test``, the only one."""
    storage, needs = Storage(folder), ("image", "text", "category", "question_id", "label")
    if files := storage.find(f"{split}_questions.jsonl"):
        images = Images(storage, ".", "vstar_bench")
        return PublishedItems(
            JSONLines(files[0]), lambda row, _: _item(row, images.read(text(row, "image"))), needs
        )
    if files := storage.find(f"{split}-*.parquet"):
        rows = ParquetRows(files)
        return PublishedItems(rows, lambda row, _: _item(row, embedded(row["image"])), needs)
    raise MissingFilesError(folder)


def _item(row: Row, image: ImageFile) -> Item:
    question = text(row, "text").strip().removesuffix(_ASKED).rstrip()
    options = tuple(option for _, option in _OPTION.findall(question))
    category = text(row, "category")
    return ask(
        f"{category}-{text(row, 'question_id')}",
        question,
        [image],
        letter_of(text(row, "label"), options),
        options=options,
        subtask=category,
    )
