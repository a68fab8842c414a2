"""MME (arXiv 2306.13394): two yes-or-no questions about each image, in 14 subtasks.

As LLaVA-1.5 asks them: without the benchmark's own "Please answer yes or no.". Group: the paper
sorts cognition as global, and names scenes as global, counting, position and OCR as local.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diysink.artifact import digest_bytes
from diysink.evaluation.benchmarks.published import (
    MissingFilesError,
    PublishedItems,
    Row,
    ask,
    text,
)
from diysink.evaluation.benchmarks.readers import Images, ParquetRows, Storage, embedded
from diysink.evaluation.item import Item
from diysink.records import BadItemError, ImageFile, Reason, SourceError
from diysink.records.rejection import excerpt

PERCEPTION = (
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
GROUPS = dict.fromkeys((*COGNITION, "scene"), "global") | dict.fromkeys(
    ("count", "position", "OCR"), "local"
)
FILES = (
    "MME_Benchmark_release_version/<subtask>/, each with <image>.jpg|png and <image>.txt, or with "
    "images/ and questions_answers_YN/ (or a .zip of it, unpacked)",
    "test-*.parquet",
)
_ASKED = re.compile(r"\s*Please answer yes or no\.\s*")
_SUFFIXES = (".jpg", ".png", ".jpeg")
_LARGEST = 2**20  # bytes of a text file: a real one has two lines


def mme(folder: Path, split: str) -> PublishedItems:
    """All 14 subtasks; ``split`` is ``test``, the only one."""
    for root in (folder, folder / "MME_Benchmark_release_version"):
        if (root / COGNITION[0]).is_dir():
            tree = _Tree.of(root)
            return PublishedItems(tree, tree.item, ("question", "answer"))
    if files := Storage(folder).find(f"{split}-*.parquet"):
        needs = ("question_id", "image", "question", "answer", "category")
        return PublishedItems(ParquetRows(files), _mirrored, needs)
    raise MissingFilesError(folder)


@dataclass
class _Tree:
    """The published folders: where each question is, as rows."""

    name: str
    places: list[tuple[str, Path, Path, int]]  # subtask, folder of images, text file, line

    @classmethod
    def of(cls, root: Path) -> "_Tree":
        missing = [name for name in (*PERCEPTION, *COGNITION) if not (root / name).is_dir()]
        if missing:
            raise SourceError(f"{root} has no folder {', '.join(missing)}")
        places = []
        for subtask in (*PERCEPTION, *COGNITION):
            images, answers = root / subtask / "images", root / subtask / "questions_answers_YN"
            if not images.is_dir():
                images = answers = root / subtask
            for file in sorted(answers.glob("*.txt")):
                lines = range(len(_lines(file)))
                places += [(subtask, images, file, line) for line in lines]
        if not places:
            raise SourceError(f"{root} is empty: it has no questions")
        return cls(str(root), places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        subtask, images, file, line = self.places[index]
        question, _, answer = _lines(file)[line].partition("\t")
        return {
            "question": question,
            "answer": answer,
            "category": subtask,
            "images": images,
            "stem": file.stem,
        }

    def only(self, *columns: str) -> "_Tree":
        return self

    def item(self, row: Row, number: int) -> Item:
        names = [row["stem"] + suffix for suffix in _SUFFIXES]
        there = [name for name in names if (row["images"] / name).exists()]
        storage = Storage(row["images"])
        image = Images(storage, ".").read((there or names)[0])
        return _item(row, f"{row['category']}/{row['stem']}", image)


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


def _lines(file: Path) -> list[str]:
    if file.stat().st_size > _LARGEST:
        raise SourceError(f"{file} has more than {_LARGEST} bytes; expected two lines")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(f"{file}: not UTF-8 ({error.reason})") from error
    return [line for line in lines if line.strip()]
