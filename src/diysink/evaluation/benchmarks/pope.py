"""POPE (arXiv 2305.10355): is an object in the image? Three ways to draw the absent objects."""

from pathlib import Path

from diysink.evaluation.benchmarks.published import (
    Chained,
    MissingFilesError,
    PublishedItems,
    Row,
    ask,
    text,
)
from diysink.evaluation.benchmarks.readers import (
    Images,
    JSONLines,
    ParquetRows,
    Storage,
    StoredFile,
    embedded,
)
from diysink.evaluation.item import Item
from diysink.records import BadItemError, ImageFile, Reason
from diysink.records.rejection import excerpt

SPLITS = ("random", "popular", "adversarial")
FILES = (
    "coco_pope_random.json, coco_pope_popular.json, coco_pope_adversarial.json and "
    "val2014/COCO_val2014_<id>.jpg (or val2014.zip)",
    "Full/random-*.parquet, Full/popular-*.parquet, Full/adversarial-*.parquet",
    "test-*.parquet",
)


def pope(folder: Path, split: str) -> PublishedItems | Chained:
    """All three splits, one after the other.

    Args:
        folder: of the published files.
        split: the images' data set, ``coco``.
    """
    storage = Storage(folder)
    official = {name: storage.find(f"{split}_pope_{name}.json") for name in SPLITS}
    if all(official.values()):
        images = Images(storage, "val2014", ".")
        return Chained(*(_official(files[0], name, images) for name, files in official.items()))
    full = {name: storage.find(f"Full/{name}-*.parquet", f"{name}-*.parquet") for name in SPLITS}
    if all(full.values()):
        return Chained(*(_mirrored(files) for files in full.values()))
    if files := storage.find("test-*.parquet"):
        return _mirrored(files)
    raise MissingFilesError(folder)


def _official(file: StoredFile, split: str, images: Images) -> PublishedItems:
    def make(row: Row, number: int) -> Item:
        return _item(row, split, text(row, "text"), text(row, "label"), images.read(row["image"]))

    return PublishedItems(JSONLines(file), make, ("question_id", "image", "text", "label"))


def _mirrored(files: list[StoredFile]) -> PublishedItems:
    def make(row: Row, number: int) -> Item:
        question, answer = text(row, "question"), text(row, "answer")
        return _item(row, text(row, "category"), question, answer, embedded(row["image"]))

    needs = ("question_id", "image", "question", "answer", "category")
    return PublishedItems(ParquetRows(files), make, needs)


def _item(row: Row, split: str, question: str, answer: str, image: ImageFile) -> Item:
    answer = answer.strip().lower()
    if answer not in ("yes", "no"):
        raise BadItemError(Reason.WRONG_TYPE, f"the answer is {excerpt(answer)}, not yes or no")
    return ask(f"{split}-{text(row, 'question_id')}", question, [image], answer, subtask=split)
