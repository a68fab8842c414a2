"""Why an item of a user's data was not taken: the reasons, and the row of the quarantine table."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MAX_DETAIL = 500  # characters
_SHOWN_ITEMS, _SHOWN_LEVELS = 8, 4  # of a list or object in a message


class Reason(StrEnum):
    """Every reason for which an item is quarantined; ``docs/guides/your-data.md`` explains each."""

    NOT_AN_OBJECT = "not_an_object"
    MISSING_ID = "missing_id"
    DUPLICATE_ID = "duplicate_id"
    WRONG_TYPE = "wrong_type"
    TOO_DEEP = "too_deep"
    NAN = "nan"
    BAD_TEXT = "bad_text"
    TEXT_TOO_LONG = "text_too_long"
    NO_CONVERSATION = "no_conversation"
    UNKNOWN_SPEAKER = "unknown_speaker"
    TURN_ORDER = "turn_order"
    EMPTY_QUESTION = "empty_question"
    EMPTY_ANSWER = "empty_answer"
    PLACEHOLDERS = "placeholders"
    UNKNOWN_CONTENT = "unknown_content"
    TOO_MANY_IMAGES = "too_many_images"
    UNKNOWN_GROUP = "unknown_group"
    BAD_PATH = "bad_path"
    ABSOLUTE_PATH = "absolute_path"
    PATH_OUTSIDE = "path_outside"
    LINK_OUTSIDE = "link_outside"
    MISSING_FILE = "missing_file"
    NOT_IN_CACHE = "not_in_cache"
    OTHER_SHA256 = "other_sha256"
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
        detail: what came and what was expected, one short sentence; cut to 500 characters, because
            decoders put what they like into their messages.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        detail = detail if len(detail) <= MAX_DETAIL else detail[:MAX_DETAIL] + "..."
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
    """``value`` as it can stand in a message: quoted, ASCII, cut to ``length`` characters.

    Raw values may hold megabytes or a thousand nested lists: only their beginning is looked at.
    """
    text = _shown(value, length, _SHOWN_LEVELS)
    whole = len(text) <= length and not (isinstance(value, str | bytes) and len(value) > length)
    return text if whole else text[:length] + "..."


def _shown(value: object, length: int, levels: int) -> str:
    item = getattr(value, "item", None)
    if type(value).__module__ == "numpy" and callable(item) and getattr(value, "ndim", 1) == 0:
        value = item()  # 0.0, not np.float64(0.0)
    match value:
        case str() | bytes():
            # Cut before it is quoted: a megabyte need not be escaped to show its beginning.
            return ascii(value[:length])
        case int() if value.bit_length() > 4 * length:  # Python refuses to print 5,000 digits
            return f"a number of {value.bit_length()} bits"
        case Mapping() | list() | tuple() if not value:
            return ascii(value)
        case Mapping() | list() | tuple() if levels == 0:
            return "{...}" if isinstance(value, Mapping) else "[...]"
        case Mapping():
            pairs = [
                f"{_shown(key, length, 0)}: {_shown(value[key], length, levels - 1)}"
                for key, _ in zip(value, range(_SHOWN_ITEMS), strict=False)
            ]
            return "{" + ", ".join(pairs + ["..."] * (len(value) > _SHOWN_ITEMS)) + "}"
        case list() | tuple():
            items = [_shown(each, length, levels - 1) for each in value[:_SHOWN_ITEMS]]
            return "[" + ", ".join(items + ["..."] * (len(value) > _SHOWN_ITEMS)) + "]"
        case _:
            return ascii(value)
