"""ScienceQA (arXiv 2209.09513), the questions with an image: multiple choice with a context.

Of the official text the hint is the context; lecture and solution are not shown, as in LLaVA-1.5.
"""

from pathlib import Path

from diysink.evaluation.benchmarks.published import (
    LETTERS,
    MissingFilesError,
    PublishedItems,
    Row,
    ask,
    listed,
    optional,
    text,
    texts,
)
from diysink.evaluation.benchmarks.readers import Images, JSONFile, ParquetRows, Storage, embedded
from diysink.evaluation.item import Item
from diysink.records import BadItemError, ImageFile, Reason
from diysink.records.rejection import excerpt

FILES = (
    "problems.json and images/<split>/<id>/image.png (or a .zip of them)",
    "ScienceQA-IMG/test-*.parquet",
)


def scienceqa(folder: Path, split: str) -> PublishedItems:
    """The questions of a split, ``test`` or ``val`` or ``train``, that have an image."""
    storage = Storage(folder)
    if files := storage.find("problems.json"):
        rows = JSONFile(
            files[0],
            key="id",
            keep=lambda row: row.get("split") == split and bool(row.get("image")),
        )
        images = Images(storage, f"images/{split}", split, "images", ".")
        return PublishedItems(
            rows,
            lambda row, _: _item(
                row, text(row, "id"), images.read(f"{text(row, 'id')}/{text(row, 'image')}")
            ),
            ("question", "choices", "answer", "image"),
        )
    mirror = {"val": "validation"}.get(split, split)
    if files := storage.find(f"ScienceQA-IMG/{mirror}-*.parquet", f"{mirror}-*.parquet"):
        return PublishedItems(
            ParquetRows(files),
            lambda row, number: _item(row, f"{split}-{number}", embedded(row["image"])),
            ("question", "choices", "answer", "image"),
        )
    raise MissingFilesError(folder)


def _item(row: Row, name: str, image: ImageFile) -> Item:
    options, answer = texts(row, "choices"), row["answer"]
    if not isinstance(answer, int) or not 0 <= answer < len(options):
        raise BadItemError(
            Reason.WRONG_TYPE, f"answer is {excerpt(answer)}, of {len(options)} choices"
        )
    hint = optional(row, "hint")
    context = f"Context: {hint}\n" if hint else ""
    return ask(
        name,
        f"{context}{text(row, 'question')}\n{listed(options)}",
        [image],
        LETTERS[answer],
        options=options,
        subtask=optional(row, "subject"),
    )
