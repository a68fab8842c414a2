"""What the cells of a served table may hold: a question's text, an image's bytes or base64 of them.

Paths and URLs are not taken: whoever may ask questions must not thereby read the server's files,
nor make it fetch anything. (A REST client has base64 alone.)
"""

import base64
import binascii
import re
from collections.abc import Collection
from numbers import Real
from typing import Any

import pandas as pd

from diysink.records import ImageFile, ImageLimits

PLACEHOLDER = "<image>"
LONGEST = 200_000  # characters of a question; a model reads some thousands
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")  # base64 holds no colon


def question_text(cell: Any, special: Collection[str] = (PLACEHOLDER,)) -> str:
    """A cell of the column ``question``, if it is one.

    Args:
        cell: as it came.
        special: the tokenizer's special tokens. Inside a question they would not be read as text:
            ``<image>`` asks for a second image, an end-of-turn token ends the question.

    Raises:
        ValueError: null, no text, too long, nothing to read in it, or a special token inside.
    """
    if _is_null(cell):
        raise ValueError("the question is null; expected text")
    if not isinstance(cell, str):
        raise ValueError(f"the question is {_kind(cell)}; expected text")
    if len(cell) > LONGEST:
        raise ValueError(f"the question has {len(cell)} characters; expected at most {LONGEST}")
    if not any(letter.isprintable() and not letter.isspace() for letter in cell):
        raise ValueError("the question is empty or blank; expected text")
    try:
        cell.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the question holds {cell[error.start]!a} at character {error.start}, which is no "
            "letter in itself; expected text that UTF-8 can hold"
        ) from error
    # A single character is an ordinary one ("!" pads in some tokenizers).
    found = sorted(token for token in special if len(token.strip()) > 1 and token in cell)
    if found:
        raise ValueError(
            f"the question holds {', '.join(map(repr, found))}, which the model reads as a sign of "
            "its own and not as text; take it out (the image needs no placeholder)"
        )
    return str(cell)


def image_file(cell: Any, max_bytes: int) -> ImageFile:
    """A cell of the column ``image``, as an image that was decoded once.

    Args:
        cell: as it came.
        max_bytes: of the file. Base64 that must be longer is not decoded.

    Raises:
        ValueError: null, neither bytes nor base64, no image, larger than ``max_bytes``, or beyond
            the other limits of `diysink.records.ImageLimits`.
    """
    if _is_null(cell):
        raise ValueError(f"the image is null; {_EXPECTED}")
    match cell:
        case bytes() | bytearray() | memoryview():
            data = bytes(cell)
        case str():
            data = _from_base64(cell, max_bytes)
        case _:
            raise ValueError(f"the image is {_kind(cell)}; {_EXPECTED}")
    if not data:
        raise ValueError(f"the image is empty; {_EXPECTED}")
    try:
        return ImageFile.of(data, ImageLimits(max_bytes=max_bytes))
    except ValueError as error:
        raise ValueError(f"the image cannot be decoded ({error}); {_EXPECTED}") from error


_EXPECTED = "expected the bytes of an image file (PNG, JPEG, ...), or base64 of them"


def _from_base64(text: str, max_bytes: int) -> bytes:
    if _URL.match(text):
        raise ValueError(
            f"the image is a URL ({text[:30]!r}), and none is fetched or opened; {_EXPECTED} (of a "
            "'data:' URL, what follows the comma)"
        )
    if len(text) > 78 * (max_bytes // 57 + 1):  # lines of 57 bytes, the usual wrapping
        raise ValueError(
            f"the image is {len(text)} characters of base64, which is a file of more than the "
            f"{max_bytes} bytes that are taken; scale the picture down"
        )
    try:
        # MLflow's own examples wrap base64 in lines.
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(
            f"the image is text that is no base64 ({error}), beginning {text[:30]!r}; paths are "
            f"not opened; {_EXPECTED}"
        ) from error


def _is_null(cell: Any) -> bool:
    if cell is None or cell is pd.NA or cell is pd.NaT:
        return True
    return isinstance(cell, Real) and bool(cell != cell)  # NaN, numpy's too


def _kind(cell: Any) -> str:
    shape = getattr(cell, "shape", None)
    return f"of type {type(cell).__name__}" + (f" of shape {tuple(shape)}" if shape else "")
