"""VizWiz (arXiv 1802.08218): photographs and questions of blind people, ten answers to each.

"Unanswerable" is an answer like others. LLaVA-1.5 reports test-dev, whose answers are not public.
"""

from pathlib import Path, PurePosixPath

from diysink.evaluation.benchmarks.published import (
    MissingFilesError,
    PublishedItems,
    Row,
    ask,
    most_common,
    optional,
    text,
    texts,
)
from diysink.evaluation.benchmarks.readers import Images, JSONFile, ParquetRows, Storage, embedded
from diysink.evaluation.item import Item
from diysink.records import ImageFile

FILES = ("val.json (or Annotations.zip) and val/<image> (or val.zip)", "val-*.parquet")


def vizwiz(folder: Path, split: str) -> PublishedItems:
    """The questions of a split, ``val`` or ``train``."""
    storage = Storage(folder)
    if files := storage.find(f"{split}.json"):
        images = Images(storage, split, ".")
        return PublishedItems(
            JSONFile(files[0]),
            lambda row, _: _item(
                row,
                PurePosixPath(text(row, "image")).stem,
                optional(row, "answer_type"),
                images.read(text(row, "image")),
            ),
            ("image", "question", "answers"),
        )
    if files := storage.find(f"{split}-*.parquet"):
        return PublishedItems(
            ParquetRows(files),
            lambda row, _: _item(
                row, text(row, "question_id"), optional(row, "category"), embedded(row["image"])
            ),
            ("question_id", "image", "question", "answers"),
        )
    raise MissingFilesError(folder)


def _item(row: Row, name: str, subtask: str | None, image: ImageFile) -> Item:
    answers = texts(row, "answers")
    return ask(
        name,
        text(row, "question"),
        [image],
        most_common(answers),
        answers=answers,
        subtask=subtask,
    )
