"""MMMU (arXiv 2311.16502): college-level questions with up to seven images.

`<image 1>` in a question or an option is where the image belongs: it becomes a placeholder there,
and an image that is referred to twice comes twice. With one image, our models put it first, which
is how LLaVA-1.5 was run; the words "<image 1>", which that run left in the text, are not shown.
"""

import ast
import re
from pathlib import Path
from typing import Any

from diysink.evaluation.benchmarks.published import (
    MissingFilesError,
    PublishedItems,
    Row,
    letter_of,
    listed,
    optional,
    placed,
    text,
)
from diysink.evaluation.benchmarks.readers import ParquetRows, Storage, embedded
from diysink.evaluation.item import Item
from diysink.records import PLACEHOLDER, BadItemError, Reason
from diysink.records.rejection import excerpt

FILES = ("<Subject>/validation-*.parquet, a folder for each subject", "validation-*.parquet")
_IMAGE = re.compile(r"<image (\d+)>")
_CHOICE = "Answer with the option's letter from the given choices directly."
_OPEN = "Answer the question using a single word or phrase."
_LONGEST = 100_000  # characters of a list that is written as text


def mmmu(folder: Path, split: str) -> PublishedItems:
    """The questions of a split, ``validation`` or ``dev``, of all subjects that are there."""
    files = Storage(folder).find(f"{split}-*.parquet")
    if not files:
        raise MissingFilesError(folder)
    needs = ("id", "question", "options", "answer", "question_type", "image_1")
    return PublishedItems(ParquetRows(files), _item, needs)


def _item(row: Row, number: int) -> Item:
    name, kind = text(row, "id"), text(row, "question_type")
    question = text(row, "question").replace(PLACEHOLDER, "")
    options = tuple(str(option) for option in _list(row["options"]))
    more: dict[str, Any] = {}
    if kind == "multiple-choice":
        answer = letter_of(text(row, "answer"), options)
        lines = listed(options, "({letter}) {option}\n").replace("\n\n", "\n")
        question = f"{question}\n{lines}\n{_CHOICE}"
        more["options"] = tuple(_IMAGE.sub(PLACEHOLDER, option) for option in options)
    elif kind == "open":
        answers = tuple(str(each) for each in _list(row["answer"])) or (text(row, "answer"),)
        answer, more["answers"] = answers[0], answers
        question = f"{question}\n{_OPEN}"
    else:
        raise BadItemError(Reason.WRONG_TYPE, f"question_type is {excerpt(kind)}")
    shown = _IMAGE.findall(question)
    if not shown:  # nothing says where it belongs: first
        shown, question = ["1"], f"<image 1>\n{question}"
    return placed(
        name,
        _IMAGE.sub(PLACEHOLDER, question),
        [_image(row, which) for which in shown],
        answer,
        subtask=_subject(name),
        details={"question_type": kind, "subfield": optional(row, "subfield")},
        **more,
    )


def _image(row: Row, which: str) -> Any:
    try:
        return embedded(row.get(f"image_{int(which)}"))
    except BadItemError as error:
        raise BadItemError(error.reason, f"image_{which}: {error.detail}") from error


def _list(value: Any) -> list[Any]:
    """A list, also where it is written as Python writes it; anything else is no list: []."""
    if isinstance(value, str) and value.lstrip().startswith("[") and len(value) <= _LONGEST:
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise BadItemError(
                Reason.WRONG_TYPE, f"{excerpt(value)} is not a list of options"
            ) from error
    return value if isinstance(value, list) else []


def _subject(name: str) -> str:
    """``Art_Theory`` of ``validation_Art_Theory_12``."""
    return "_".join(name.split("_")[1:-1]) or name
