"""Why an item of a user's data was not taken: the reasons, and the row of the quarantine table."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Every reason for which an item is quarantined; ``docs/guides/your-data.md`` explains each."""

    NOT_AN_OBJECT = "not_an_object"
    MISSING_ID = "missing_id"
    DUPLICATE_ID = "duplicate_id"
    WRONG_TYPE = "wrong_type"
    NAN = "nan"
    BAD_TEXT = "bad_text"
    TEXT_TOO_LONG = "text_too_long"
    NO_CONVERSATION = "no_conversation"
    UNKNOWN_SPEAKER = "unknown_speaker"
    TURN_ORDER = "turn_order"
    EMPTY_QUESTION = "empty_question"
    EMPTY_ANSWER = "empty_answer"
    PLACEHOLDERS = "placeholders"
    UNKNOWN_GROUP = "unknown_group"
    BAD_PATH = "bad_path"
    ABSOLUTE_PATH = "absolute_path"
    PATH_OUTSIDE = "path_outside"
    LINK_OUTSIDE = "link_outside"
    MISSING_FILE = "missing_file"
    UNREADABLE_FILE = "unreadable_file"
    EMPTY_FILE = "empty_file"
    FILE_TOO_LARGE = "file_too_large"
    NOT_AN_IMAGE = "not_an_image"
    BROKEN_IMAGE = "broken_image"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_TOO_SMALL = "image_too_small"
    IMAGE_TOO_NARROW = "image_too_narrow"


class BadItemError(ValueError):
    """One item cannot be taken; the run goes on and the item goes to the quarantine table.

    Args:
        reason: which rule it breaks.
        detail: what came and what was expected, one short sentence.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Rejection:
    """One row of the quarantine table.

    Attributes:
        id: the item's id where it has a usable one.
        index: its place in the source, from 0.
        reason: which rule it breaks (the first one, in the order of the checks).
        detail: what came and what was expected.
    """

    id: str | None
    index: int
    reason: Reason
    detail: str


def excerpt(value: object, length: int = 80) -> str:
    """``value`` as it can stand in a message: quoted, ASCII, cut to ``length`` characters."""
    # Texts are cut before they are quoted: a megabyte need not be escaped to show its beginning.
    text = ascii(value[:length] if isinstance(value, str | bytes) else value)
    whole = len(text) <= length and not (isinstance(value, str | bytes) and len(value) > length)
    return text if whole else text[:length] + "..."
