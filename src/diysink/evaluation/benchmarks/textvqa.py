"""TextVQA (arXiv 1904.08920): text in images, ten answers to each question. The paper: local.

LLaVA-1.5's own evaluation adds the words that an OCR system read in the image, "reference OCR
tokens". That helps: it is a row of its own, ``textvqa-ocr``, never to be set beside ``textvqa``.
Questions begin with a capital letter, as in LLaVA's file.
"""

from pathlib import Path

from diysink.evaluation.benchmarks.published import (
    MissingFilesError,
    PublishedItems,
    Row,
    ask,
    most_common,
    text,
    texts,
)
from diysink.evaluation.benchmarks.readers import (
    Images,
    JSONFile,
    JSONLines,
    ParquetRows,
    Storage,
    embedded,
)
from diysink.evaluation.item import Item
from diysink.records import BadItemError, ImageFile, Reason

FILES = (
    "TextVQA_0.5.1_val.json and train_images/<id>.jpg (or train_val_images.zip)",
    "validation-*.parquet",
)
OCR_FILES = (f"{FILES[0]}, and LLaVA's llava_textvqa_val_v051_ocr.jsonl", FILES[1])
_HEADING = "Reference OCR token: "


def textvqa(folder: Path, split: str) -> PublishedItems:
    """The questions of a split, ``val`` or ``train``."""
    return _load(folder, split, ocr=False)


def textvqa_ocr(folder: Path, split: str) -> PublishedItems:
    """The same, with LLaVA's reference OCR tokens: its file, or the mirror's ``ocr_tokens``."""
    return _load(folder, split, ocr=True)


def _load(folder: Path, split: str, ocr: bool) -> PublishedItems:
    storage = Storage(folder)
    if files := storage.find(f"TextVQA_*_{split}.json"):
        tokens = _LLaVATokens(storage, folder, split) if ocr else None
        images = Images(storage, "train_images", ".")

        def official(row: Row, number: int) -> Item:
            line = None if tokens is None else tokens(row)
            return _item(row, line, images.read(f"{text(row, 'image_id')}.jpg"))

        rows = JSONFile(files[0], within="data")
        return PublishedItems(rows, official, ("question_id", "question", "answers", "image_id"))
    if files := storage.find({"val": "validation"}.get(split, split) + "-*.parquet"):

        def mirrored(row: Row, number: int) -> Item:
            line = _HEADING + ", ".join(texts(row, "ocr_tokens")) if ocr else None
            return _item(row, line, embedded(row["image"]))

        needs = ("question_id", "question", "answers", "image", *(["ocr_tokens"] if ocr else []))
        return PublishedItems(ParquetRows(files), mirrored, needs)
    raise MissingFilesError(folder)


class _LLaVATokens:
    """The line of tokens that LLaVA's question file has for a question."""

    def __init__(self, storage: Storage, folder: Path, split: str) -> None:
        files = storage.find(f"llava_textvqa_{split}_*_ocr.jsonl")
        if not files:
            raise MissingFilesError(folder)
        self._rows = JSONLines(files[0])
        # Several questions are about one image, and the file gives the image's id alone.
        self._number = {
            (text(row, "question_id"), self._lines(row)[0].strip().lower()): number
            for number, row in enumerate(map(self._rows.__getitem__, range(len(self._rows))))
        }

    def __call__(self, row: Row) -> str:
        key = (text(row, "image_id"), text(row, "question").strip().lower())
        if key not in self._number:
            raise BadItemError(Reason.EMPTY_QUESTION, f"{key} is not in {self._rows.name}")
        lines = self._lines(self._rows[self._number[key]])
        return next((line for line in lines if line.startswith(_HEADING)), _HEADING)

    @staticmethod
    def _lines(row: Row) -> list[str]:
        return text(row, "text").splitlines()


def _item(row: Row, tokens: str | None, image: ImageFile) -> Item:
    answers = texts(row, "answers")
    question = text(row, "question").strip().capitalize()
    return ask(
        text(row, "question_id"),
        question if tokens is None else f"{question}\n{tokens}",
        [image],
        most_common(answers),
        answers=answers,
    )
