"""Content that this project does not read: it must not pass as if the text were all there is.

An item with a video or a sound beside its text, or with images under a key of another tool, would
train and test a model on half of what the item says. Two marks give it away: a key that names a
medium and holds something, and the placeholder of a medium in a question.
"""

import math
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from diysink.records.record import PLACEHOLDER
from diysink.records.rejection import BadItemError, Reason, excerpt

_IMAGES = r"images?|imgs?|pictures?|pics?|photos?|pixel_values"
_OTHERS = (
    r"videos?|vids?|clips?|frames?|movies?|gifs?|audios?|sounds?|speech|speeches|music|voices?"
    r"|wavs?|mp3s?|mp4s?|waveforms?|point_?clouds?|pcds?|pdfs?|depths?|depth_maps?|thermals?"
)
# What may follow the medium's name, any number of times. One digit at a time: repeats of repeats
# take for ever on a hostile key. `image_id`, `video_width`, `audio_source` are only facts.
_PART = (
    r"files?|file_?names?|paths?|file_?paths?|urls?|uris?|links?|bytes|data|base64|b64|lists?"
    r"|arrays?|tensors?|features?|embeddings?|tokens?|inputs?"
)
_IMAGE_KEY = rf"(?i:\s*(?:{_IMAGES})(?:[_-]?(?:{_PART}|\d))*\s*)"
_OTHER_KEY = rf"(?i:\s*(?:{_OTHERS})(?:[_-]?(?:{_PART}|\d))*\s*)"
# A pattern for the whole of a key that names a medium, other than LLaVA's own `image`.
MEDIA_KEY = rf"(?!image\Z)(?:{_IMAGE_KEY}|{_OTHER_KEY})"
_NAMES = r"images?|imgs?|picture|videos?|vid|audios?|sound|speech|music|voice|point_?cloud"
_PLACEHOLDER = re.compile(
    rf"<\|?(?P<name>{_NAMES})(?:[ _-]?(?:pad|placeholder|token|start|here|\d))*\|?>", re.IGNORECASE
)
_CLOSING = re.compile(rf"</(?P<name>{_NAMES})\s*>", re.IGNORECASE)
# Plain signs that HTML is talked about: `<video>` in quotes, or named a tag.
_QUOTES = "`'\"\u2018\u201c\u00ab"
_TAG = re.compile(r"[`'\"\u2019\u201d\u00bb]*\s+(?:html5?\s+)?(?:tags?|elements?)\b", re.IGNORECASE)


def check_keys(
    item: Mapping[str, Any], where: str, *, allowed: Collection[str] = ("image",)
) -> None:
    """Raise `BadItemError` where a key of ``item`` holds a medium that is not read.

    Args:
        item: the item, or one of its turns.
        where: its name in the message.
        allowed: keys that are read.
    """
    for key, value in item.items():
        if not isinstance(key, str) or key in allowed:
            continue
        if len(key) > 64 or not _names_media(key) or _is_empty(value):
            continue
        remedy = (
            "images are read from the item's key `image` (a path, or a list of paths)"
            if re.fullmatch(_IMAGE_KEY, key)
            else "only text and images are read"
        )
        raise BadItemError(
            Reason.UNKNOWN_CONTENT,
            f"{where} has the key {excerpt(key)}, which holds media; {remedy}",
        )


def check_text(text: str, where: str) -> None:
    """Raise `BadItemError` where a question has the placeholder of another medium.

    ``<image>`` itself is not looked at. ``<video>`` and the like are taken as text only where the
    question is plainly about HTML: it closes the tag (``</video>``), or has it in quotes or
    backticks, or calls it a tag or an element.
    """
    closed: dict[str, int] = {}  # where each medium's last closing tag stands
    for found in _CLOSING.finditer(text):
        closed[found["name"].lower()] = found.start()
    for found in _PLACEHOLDER.finditer(text):
        if found.group() == PLACEHOLDER or _is_markup(text, found, closed):
            continue
        remedy = (
            f"the placeholder of an image is {PLACEHOLDER}"
            if re.match(_IMAGES, found["name"], re.IGNORECASE)
            else "only text and images are read"
        )
        raise BadItemError(
            Reason.UNKNOWN_CONTENT,
            f"{where} has the placeholder {excerpt(found.group())}; {remedy}",
        )


@lru_cache(maxsize=4096)  # a source uses the same few keys in every item
def _names_media(key: str) -> bool:
    # Turns have images of their own in other tools' formats, under LLaVA's key too.
    return key == "image" or re.fullmatch(MEDIA_KEY, key) is not None


def _is_markup(text: str, found: re.Match[str], closed: Mapping[str, int]) -> bool:
    name = found["name"].lower()
    if found.group().lower() != f"<{name}>":
        return False  # <|video|>, <video_pad>, <image_1>: no HTML
    start, end = found.span()
    quoted = start > 0 and text[start - 1] in _QUOTES
    if quoted or _TAG.match(text, end):
        return True
    # <img>...</img> is how one family of models writes an image's path; HTML never closes it.
    return not name.startswith("im") and closed.get(name, -1) >= end


def _is_empty(value: object, levels: int = 4) -> bool:
    match value:
        case None | "" | b"" | False:
            return True
        case float():
            return math.isnan(value)  # pandas writes it for what is absent
        case str():
            return not value.strip()
        case Mapping():
            return levels > 0 and all(_is_empty(each, levels - 1) for each in value.values())
        case list() | tuple():
            return levels > 0 and all(_is_empty(each, levels - 1) for each in value)
        case _:
            return False
