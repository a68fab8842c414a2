"""MMStar (arXiv 2403.20330): multiple choice that needs the image; used by LSG.

Its questions have their options in the text; other versions have columns A, B, C, D.
"""

import re
from pathlib import Path

from diysink.evaluation.benchmarks.published import (
    MissingFilesError,
    PublishedItems,
    Row,
    ask,
    letter_of,
    lettered,
    listed,
    text,
)
from diysink.evaluation.benchmarks.readers import Storage, embedded, open_rows
from diysink.evaluation.item import Item

FILES = ("mmstar.parquet", "MMStar.tsv", "val-*.parquet")
_OPTIONS = re.compile(r"\bOptions:\s*(?=A:)")
_OPTION = re.compile(r"(?:^|,\s*|\n)([A-E]):\s*")


def mmstar(folder: Path, split: str) -> PublishedItems:
    """All questions; ``split`` is ``val``, the only one."""
    files = Storage(folder).find("mmstar.parquet", "MMStar.tsv", f"{split}-*.parquet")
    if not files:
        raise MissingFilesError(folder)
    needs = ("index", "question", "image", "answer", "category", "l2_category")
    return PublishedItems(open_rows(files), _item, needs)


def _item(row: Row, number: int) -> Item:
    question = text(row, "question").replace("<image 1>", "").strip()
    options = lettered(row)
    if options:
        question = f"{question}\n{listed(options)}"
    else:
        options = _in_text(question)
    return ask(
        text(row, "index"),
        question,
        [embedded(row["image"])],
        letter_of(text(row, "answer"), options),
        options=options,
        subtask=text(row, "l2_category"),
        details={"category": text(row, "category")},
    )


def _in_text(question: str) -> tuple[str, ...]:
    """The options that a question ends with: ``Options: A: a cat, B: a dog``."""
    begins = _OPTIONS.search(question)
    if begins is None:
        return ()
    _, *parts = _OPTION.split(question[begins.end() :])
    pairs = zip(parts[::2], parts[1::2], strict=True)
    found: list[str] = []
    for letter, option in pairs:
        if letter == "ABCDE"[len(found) : len(found) + 1]:
            found.append(option.strip())
    return tuple(found)
