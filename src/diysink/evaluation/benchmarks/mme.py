"""MME (arXiv 2306.13394): two yes-or-no questions about each image, in 14 subtasks.

As LLaVA-1.5 asks them: without the benchmark's own "Please answer yes or no.". Group: the paper
sorts cognition as global, and names scenes as global, counting, position and OCR as local.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from diysink.artifact import digest_bytes
from diysink.evaluation.benchmarks.published import (
    MissingFilesError,
    PublishedItems,
    Row,
    ask,
    text,
)
from diysink.evaluation.benchmarks.readers import Images, ParquetRows, Storage, StoredFile, embedded
from diysink.evaluation.item import Item
from diysink.evaluation.metrics.mme import COGNITION, PERCEPTION
from diysink.records import BadItemError, ImageFile, Reason, SourceError
from diysink.records.rejection import excerpt

GROUPS = dict.fromkeys((*COGNITION, "scene"), "global") | dict.fromkeys(
    ("count", "position", "OCR"), "local"
)
ROOT = "MME_Benchmark_release_version"
FILES = (
    "MME_Benchmark_release_version/<subtask>/, each with <image>.jpg|png and <image>.txt, or with "
    "images/ and questions_answers_YN/ (or a .zip of them)",
    "test-*.parquet",
)
_ASKED = re.compile(r"\s*Please answer yes or no\.\s*")
SUFFIXES = (".png", ".jpeg", ".jpg")
_LARGEST = 2**20  # bytes of a text file: a real one has two lines


def mme(folder: Path, split: str) -> PublishedItems:
    """All 14 subtasks; ``split`` is ``test``, the only one."""
    storage = Storage(folder)
    if storage.find(*_texts(COGNITION[0])):
        tree = _Tree(storage)
        return PublishedItems(tree, tree.item, ("question", "answer"))
    if files := storage.find(f"{split}-*.parquet"):
        needs = ("question_id", "image", "question", "answer", "category")
        return PublishedItems(ParquetRows(files), _mirrored, needs)
    raise MissingFilesError(folder)


def _texts(subtask: str) -> tuple[str, str]:
    """The two places of the text files of a subtask."""
    return f"{subtask}/questions_answers_YN/*.txt", f"{subtask}/*.txt"


class _Tree:
    """The published folders as rows: a text file for each image, a line for each question."""

    def __init__(self, storage: Storage) -> None:
        self.name, self._storage = str(storage.folder), storage
        self._images = Images(storage, ROOT, ".")
        files = {name: storage.find(*_texts(name)) for name in (*PERCEPTION, *COGNITION)}
        if missing := [name for name, found in files.items() if not found]:
            raise SourceError(f"{self.name} has no text files of {', '.join(missing)}")
        self._places = [
            (subtask, file, line)
            for subtask, found in files.items()
            for file in found
            for line in range(len(self._lines(file)))
        ]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        subtask, file, line = self._places[index]
        question, _, answer = self._lines(file)[line].partition("\t")
        place = PurePosixPath(file.member or file.path.as_posix())
        inner = f"{subtask}/images" if place.parent.name == "questions_answers_YN" else subtask
        return {
            "question": question,
            "answer": answer,
            "category": subtask,
            "image": f"{inner}/{place.stem}",
        }

    def only(self, *columns: str) -> "_Tree":
        """The same rows."""
        return self

    def item(self, row: Row, number: int) -> Item:
        """The item of a row, with the image of whatever format there is."""
        *others, last = (row["image"] + suffix for suffix in SUFFIXES)
        unit = f"{row['category']}/{PurePosixPath(row['image']).name}"
        for name in others:
            try:
                return _item(row, unit, self._images.read(name))
            except BadItemError as error:
                if error.reason != Reason.MISSING_FILE:
                    raise
        return _item(row, unit, self._images.read(last))

    def _lines(self, file: StoredFile) -> list[str]:
        try:
            text = self._storage.read(file, _LARGEST).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise SourceError(f"{file.name}: not UTF-8 ({error.reason})") from error
        return [line for line in text.splitlines() if line.strip()]


def _mirrored(row: Row, number: int) -> Item:
    stem = Path(text(row, "question_id")).stem
    return _item(row, f"{text(row, 'category')}/{stem}", embedded(row["image"]))


def _item(row: Row, unit: str, image: ImageFile) -> Item:
    subtask, answer = text(row, "category"), text(row, "answer").strip().strip(".").lower()
    if subtask not in (*PERCEPTION, *COGNITION):
        raise BadItemError(Reason.WRONG_TYPE, f"the subtask {excerpt(subtask)} is none of the 14")
    if answer not in ("yes", "no"):
        raise BadItemError(Reason.WRONG_TYPE, f"the answer is {excerpt(answer)}, not yes or no")
    question = _ASKED.sub(" ", text(row, "question")).strip()
    return ask(
        f"{unit}#{digest_bytes(question.encode())[:8]}",
        question,
        [image],
        answer,
        subtask=subtask,
        unit=unit,
        group=GROUPS.get(subtask),
    )
