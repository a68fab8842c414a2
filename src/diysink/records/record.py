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
    """The question that a record asks about its one image.

    Raises:
        ValueError: a record without exactly one image, one question and one answer.
    """
    turns = [turn.speaker for turn in record.conversations]
    if len(record.images) != 1 or turns != ["human", "gpt"]:
        raise ValueError(
            f"record {record.id!r} has {len(record.images)} images and turns {turns}; an "
            "evaluation record has one image, one question (human) and one answer (gpt)"
        )
    return record.conversations[0].text.replace(PLACEHOLDER, "").strip()


def answer_of(record: Record) -> str:
    """The answer that a record gives to its one question; raises as `question_of` does."""
    question_of(record)
    return record.conversations[1].text
