"""The rules one item of LLaVA's format must keep, before its images are touched.

The first rule that is broken is the one reported; nothing is repaired, texts are kept to the byte.
Content of another kind (a video, a sound, images under another tool's key) is not taken as text:
see `diysink.records.content`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diysink.records.cache import CachedImage, ImageRef
from diysink.records.content import check_keys, check_text
from diysink.records.record import GROUPS, PLACEHOLDER, Turn
from diysink.records.rejection import BadItemError, Reason, excerpt

MAX_TEXT_BYTES = 4 * 2**20
# An id and a subtask are names: they stand in tables, logs and reports. A path has 4,096 at most.
MAX_NAME_BYTES = 4096
# All images of one item are decoded for one sequence.
MAX_IMAGES = 256


@dataclass(frozen=True)
class TooDeep:
    """Stands for an item that is nested too deep to be read."""


@dataclass(frozen=True)
class Draft:
    """An item whose texts are in order and whose images have not been read.

    Attributes:
        id: as given.
        images: for each image its path in the image folder, its bytes (parquet may hold them), or
            what is looked up in a cache.
        conversations: the turns, empty only where the source has none.
        group: as in `Record`.
        subtask: as in `Record`.
    """

    id: str
    images: tuple[ImageRef, ...]
    conversations: tuple[Turn, ...]
    group: str | None
    subtask: str | None


def check_item(
    item: object, *, conversations: bool = True, max_text_bytes: int = MAX_TEXT_BYTES
) -> Draft:
    """Read one item of the form ``{id, image?, conversations, group?, subtask?}``.

    Args:
        item: a value from JSON or parquet; other keys are ignored unless they hold media.
        conversations: False for sources that are only images.
        max_text_bytes: of all texts of the item together, in UTF-8.

    Raises:
        BadItemError: a rule is broken.
    """
    if isinstance(item, TooDeep):
        raise BadItemError(
            Reason.TOO_DEEP, "lists or objects in each other, about a thousand deep; expected 3"
        )
    if not isinstance(item, Mapping):
        raise BadItemError(
            Reason.NOT_AN_OBJECT, f"{excerpt(item)}; expected an object with id and conversations"
        )
    identity = item_id(item)
    check_keys(item, "the item")
    images = _images(item.get("image"))
    group, subtask = _optional(item, "group"), _optional(item, "subtask")
    if group is not None and group not in GROUPS:
        raise BadItemError(
            Reason.UNKNOWN_GROUP, f"group {excerpt(group)}; one of {', '.join(GROUPS)}, or absent"
        )
    if subtask is not None:
        _check_name(subtask, "subtask")
    turns = _turns(item.get("conversations")) if conversations else ()
    size = sum(len(text.encode()) for text in (identity, subtask or "", *(t.text for t in turns)))
    if size > max_text_bytes:
        raise BadItemError(Reason.TEXT_TOO_LONG, f"{size} bytes of text, at most {max_text_bytes}")
    if conversations:
        _check_placeholders(turns, len(images))
    return Draft(identity, images, turns, group, subtask)


def item_id(item: Mapping[str, Any]) -> str:
    """The item's id; a whole number is taken as its decimal digits (LLaVA's own files have some).

    Raises:
        BadItemError: absent, empty, or not an id.
    """
    value = item.get("id")
    if value is None or (isinstance(value, str) and not value.strip()):
        raise BadItemError(Reason.MISSING_ID, "no id, or an empty one")
    if isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() > 128:  # more than any id has, and Python prints no 5,000 digits
            raise BadItemError(Reason.TEXT_TOO_LONG, f"id is {excerpt(value)}, at most 128 bits")
        return str(value)
    return _check_name(_text(value, "id"), "id")


def _check_name(text: str, name: str) -> str:
    if len(text.encode()) > MAX_NAME_BYTES:
        raise BadItemError(
            Reason.TEXT_TOO_LONG,
            f"{name} {excerpt(text)} has {len(text.encode())} bytes, at most {MAX_NAME_BYTES}",
        )
    return text


def _text(value: object, name: str) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise BadItemError(Reason.NAN, f"{name} is {value}; absent values are left out or null")
    if not isinstance(value, str):
        raise BadItemError(
            Reason.WRONG_TYPE, f"{name} is {excerpt(value)} ({type(value).__name__}), not a text"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadItemError(
            Reason.BAD_TEXT, f"{name} holds half a character (U+{ord(value[error.start]):04X})"
        ) from error
    return value


def _optional(item: Mapping[str, Any], name: str) -> str | None:
    value = item.get(name)
    return None if value is None else _text(value, name)


def _images(value: object) -> tuple[ImageRef, ...]:
    match value:
        case None:
            return ()
        case list() if len(value) > MAX_IMAGES:
            raise BadItemError(
                Reason.TOO_MANY_IMAGES, f"{len(value)} images in one item, at most {MAX_IMAGES}"
            )
        case list():
            return tuple(_image(each) for each in value)
        case _:
            return (_image(value),)


def _image(value: object) -> ImageRef:
    if isinstance(value, CachedImage):
        return value
    if isinstance(value, Mapping):  # the datasets library's {bytes, path}
        value = value.get("bytes") or value.get("path")
    return value if isinstance(value, bytes) else _text(value, "image")


def _turns(value: object) -> tuple[Turn, ...]:
    if value is None or value == []:
        raise BadItemError(
            Reason.NO_CONVERSATION, "no conversations; expected [{from, value}, ...]"
        )
    if not isinstance(value, list):
        raise BadItemError(
            Reason.NO_CONVERSATION, f"conversations is {excerpt(value)}, not [{{from, value}}, ...]"
        )
    turns = tuple(_turn(number, turn) for number, turn in enumerate(value))
    if len(turns) % 2:
        raise BadItemError(
            Reason.TURN_ORDER, f"turn {len(turns)}, the last, is from human: it has no answer"
        )
    return turns


def _turn(number: int, turn: object) -> Turn:
    where = f"turn {number + 1}"
    if not isinstance(turn, Mapping):
        raise BadItemError(Reason.WRONG_TYPE, f"{where} is {excerpt(turn)}, not {{from, value}}")
    check_keys(turn, where, allowed=())
    speaker = _text(turn.get("from"), f"{where}, from")
    text = _text(turn.get("value"), f"{where}, value")
    if speaker not in ("human", "gpt"):
        raise BadItemError(
            Reason.UNKNOWN_SPEAKER, f"{where} is from {excerpt(speaker)}, not human or gpt"
        )
    if speaker != ("human", "gpt")[number % 2]:
        raise BadItemError(
            Reason.TURN_ORDER, f"{where} is from {speaker}; human and gpt alternate, human first"
        )
    if not text.strip():
        reason = Reason.EMPTY_QUESTION if speaker == "human" else Reason.EMPTY_ANSWER
        raise BadItemError(reason, f"{where} has no text")
    if speaker == "human":
        check_text(text, where)
    return Turn("human" if speaker == "human" else "gpt", text)


def _check_placeholders(turns: tuple[Turn, ...], images: int) -> None:
    for number, turn in enumerate(turns):
        if turn.speaker == "gpt" and PLACEHOLDER in turn.text:
            raise BadItemError(
                Reason.PLACEHOLDERS, f"turn {number + 1}, an answer, has {PLACEHOLDER} in it"
            )
    found = sum(turn.text.count(PLACEHOLDER) for turn in turns)
    if found != images:
        raise BadItemError(Reason.PLACEHOLDERS, f"{found} x {PLACEHOLDER} for {images} image(s)")
