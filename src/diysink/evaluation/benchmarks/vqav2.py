"""VQAv2 (arXiv 1612.00837), with ten answers to each question; the validation split has them.

LLaVA-1.5 reports test-dev, whose answers are not public.
"""

from pathlib import Path

from diysink.evaluation.benchmarks.published import (
    MissingFilesError,
    PublishedItems,
    Row,
    ask,
    optional,
    text,
    texts,
)
from diysink.evaluation.benchmarks.readers import (
    Images,
    JSONFile,
    ParquetRows,
    Storage,
    StoredFile,
    embedded,
)
from diysink.evaluation.item import Item
from diysink.records import BadItemError, ImageFile, Reason

FILES = (
    "v2_OpenEnded_mscoco_val2014_questions.json, v2_mscoco_val2014_annotations.json (or their "
    ".zip) and val2014/COCO_val2014_<id>.jpg (or val2014.zip)",
    "validation-*.parquet",
)


def vqav2(folder: Path, split: str) -> PublishedItems:
    """The questions of a split with their answers.

    Args:
        folder: of the published files.
        split: the official name, such as ``val2014``; the mirror's ``validation`` is read for it.
    """
    storage = Storage(folder)
    questions = storage.find(f"v2_OpenEnded_mscoco_{split}_questions.json")
    annotations = storage.find(f"v2_mscoco_{split}_annotations.json")
    if questions and annotations:
        return _official(storage, questions[0], annotations[0], split)
    if files := storage.find("validation-*.parquet"):
        return PublishedItems(
            ParquetRows(files),
            lambda row, _: _item(row, row, embedded(row["image"])),
            ("question_id", "question", "answers", "image"),
        )
    raise MissingFilesError(folder)


def _official(
    storage: Storage, questions: StoredFile, annotations: StoredFile, split: str
) -> PublishedItems:
    place: dict[str, int] = {}
    given = JSONFile(
        annotations,
        within="annotations",
        see=lambda row, number: place.update({text(row, "question_id"): number}),
    )
    images = Images(storage, split, ".")

    def make(row: Row, number: int) -> Item:
        name = text(row, "question_id")
        if name not in place:
            raise BadItemError(Reason.EMPTY_ANSWER, f"{name} is not in {given.name}")
        image = images.read(f"COCO_{split}_{int(text(row, 'image_id')):012d}.jpg")
        return _item(row, given[place[name]], image)

    rows = JSONFile(questions, within="questions")
    return PublishedItems(rows, make, ("question_id", "question", "image_id"))


def _item(row: Row, given: Row, image: ImageFile) -> Item:
    return ask(
        text(row, "question_id"),
        text(row, "question"),
        [image],
        text(given, "multiple_choice_answer"),
        answers=texts(given, "answers"),
        subtask=optional(given, "answer_type"),
    )
