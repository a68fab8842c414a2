"""What one training or test item is."""

from dataclasses import dataclass
from typing import Literal

from diysink.records.image import ImageFile

Speaker = Literal["human", "gpt"]
GROUPS = ("global", "local", "mixed")
PLACEHOLDER = "<image>"


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation; in a human's, `<image>` marks where an image goes."""

    speaker: Speaker
    text: str


@dataclass(frozen=True)
class Record:
    """One item.

    Attributes:
        id: unique in its split.
        images: in the order of their placeholders.
        conversations: human and gpt in turns, the human first; empty where there is only an
            image (enough to measure an encoder on).
        group: ``global``, ``local``, ``mixed`` or None.
        subtask: a finer label, or None.
    """

    id: str
    images: tuple[ImageFile, ...]
    conversations: tuple[Turn, ...]
    group: str | None = None
    subtask: str | None = None


def question_of(record: Record) -> str:
    """The question that a record asks about its image, or about several.

    The image's placeholder is taken out; those of several images stay where they are.

    Raises:
        ValueError: a record without an image, or not one question and one answer.
    """
    turns = [turn.speaker for turn in record.conversations]
    if not record.images or turns != ["human", "gpt"]:
        raise ValueError(
            f"record {record.id!r} has {len(record.images)} images and turns {turns}; an "
            "evaluation record has an image, one question (human) and one answer (gpt)"
        )
    text = record.conversations[0].text
    if len(record.images) == 1:
        text = text.replace(PLACEHOLDER, "")
    elif text.count(PLACEHOLDER) != len(record.images):
        raise ValueError(
            f"record {record.id!r} has {len(record.images)} images and "
            f"{text.count(PLACEHOLDER)} placeholders; expected one for each"
        )
    return text.strip()


def answer_of(record: Record) -> str:
    """The answer that a record gives to its one question; raises as `question_of` does."""
    question_of(record)
    return record.conversations[1].text
