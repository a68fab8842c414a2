"""MathVista (arXiv 2310.02255), testmini: mathematics in pictures, multiple choice or free form.

The prompt is the benchmark's own, hint first, as its column ``query`` has it. Group: the paper
sorts geometry, algebra and logic as global, and reports "numeric" among the global tasks.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diysink.evaluation.benchmarks.published import (
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
    "testmini.json and images/<number>.jpg (or images.zip)",
    "testmini-*.parquet",
)
GROUPS = dict.fromkeys(
    ("numeric commonsense", "geometry reasoning", "algebraic reasoning", "logical reasoning"),
    "global",
)
"""By skill; a question has one or several."""
_CHOICE = "provide the correct option letter, e.g., A, B, C, D, at the end."
_HINTS = {
    "integer": "requiring an integer answer and provide the final value, e.g., 1, 2, 3, "
    "at the end.",
    "float1": "requiring a floating-point number with one decimal place and provide the final "
    "value, e.g., 1.2, 1.3, 1.4, at the end.",
    "float2": "requiring a floating-point number with two decimal places and provide the final "
    "value, e.g., 1.23, 1.34, 1.45, at the end.",
    "list": "requiring a Python list as an answer and provide the final list, e.g., [1, 2, 3], "
    "[1.2, 1.3, 1.4], at the end.",
}


def mathvista(folder: Path, split: str) -> PublishedItems:
    """The questions of a split; only ``testmini`` has public answers."""
    storage = Storage(folder)
    if files := storage.find(f"{split}.json"):
        images = Images(storage, ".", "images")
        return PublishedItems(
            JSONFile(files[0], key="pid"),
            lambda row, _: _item(row, images.read(text(row, "image"))),
            ("pid", "question", "question_type", "answer_type", "answer", "image"),
        )
    if files := storage.find(f"{split}-*.parquet"):
        return PublishedItems(
            ParquetRows(files),
            lambda row, _: _item(row, embedded(row["decoded_image"])),
            ("pid", "question", "question_type", "answer_type", "answer", "decoded_image"),
        )
    raise MissingFilesError(folder)


def query(row: Row) -> str:
    """The prompt that the benchmark makes of a question; it is the same as its own column."""
    kind, answer_type = text(row, "question_type"), text(row, "answer_type")
    if kind == "multi_choice":
        hint = f"Hint: Please answer the question and {_CHOICE}"
    else:
        which = answer_type + (f"{_precision(row)}" if answer_type == "float" else "")
        if which not in _HINTS:
            raise BadItemError(Reason.WRONG_TYPE, f"answer_type is {excerpt(which)}")
        hint = f"Hint: Please answer the question {_HINTS[which]}"
    unit, choices = optional(row, "unit"), texts(row, "choices")
    lines = [hint, f"Question: {text(row, 'question')}" + (f" (Unit: {unit})" if unit else "")]
    if choices:
        lines += ["Choices:", listed(choices, "({letter}) {option}")]
    return "\n".join(lines)


def _item(row: Row, image: ImageFile) -> Item:
    about = row.get("metadata")
    about = about if isinstance(about, Mapping) else {}
    skills = texts(about, "skills")
    details: dict[str, Any] = {
        "question_type": text(row, "question_type"),
        "answer_type": text(row, "answer_type"),
        "precision": _precision(row),
        "unit": optional(row, "unit"),
        "task": optional(about, "task"),
        "category": optional(about, "category"),
    }
    return ask(
        text(row, "pid"),
        optional(row, "query") or query(row),
        [image],
        text(row, "answer"),
        options=texts(row, "choices"),
        subtask=details["task"],
        group="global" if GROUPS.keys() & set(skills) else None,
        labels=skills,
        details=details,
    )


def _precision(row: Row) -> int | None:
    value = optional(row, "precision")
    return None if value is None else round(float(value))
