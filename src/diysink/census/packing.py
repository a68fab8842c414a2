"""Arrays as text that is short enough for a page: quantised, compressed, in base64.

Most arrays are quantised to one byte a number, with a scale for each row (the last axis), so that
a row of small numbers is as exact as a row of large ones. ``maps.js`` reads what is written here.
"""

import base64
import io
import zlib
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from diysink.census.examples import Example
from diysink.records import BadItemError, ImageFile

_LONGEST = 448  # pixels of an image's longest side on the page


def pack_example(example: Example) -> dict[str, Any]:
    """An example as plain JSON."""
    return {
        "name": example.name,
        "image": _picture(example.image),
        "grid": list(example.grid),
        "cells": None if example.cells is None else list(example.cells),
        # Exact: these numbers are held against tau, and are the smallest arrays.
        "norms": pack_floats(example.norms),
        "received": pack_floats(example.received),
        "received_by_head": pack_positive(example.received_by_head),
        "sinks": pack_mask(example.sinks),
        "states": pack_signed(example.states),
        "relevance": None if example.relevance is None else pack_positive(example.relevance),
    }


def pack_floats(array: Float[np.ndarray, "*shape"]) -> dict[str, Any]:
    """Numbers in float32."""
    return {"code": "float", "shape": list(array.shape), "data": _text(array.astype("<f4"))}


def pack_mask(array: Bool[np.ndarray, "*shape"]) -> dict[str, Any]:
    """A byte, 0 or 1, for each element."""
    return {"code": "mask", "shape": list(array.shape), "data": _text(array.astype("u1"))}


def pack_positive(array: Float[np.ndarray, "*shape row"]) -> dict[str, Any]:
    """Numbers from 0 up, as ``scale * (byte / 255) ** 2``: the small ones, too, have some digits.

    Raises:
        ValueError: some numbers of a row are NaN or infinite, but not all.
    """
    scale = _scale(array)
    share = np.where(scale > 0, np.nan_to_num(array) / np.where(scale > 0, scale, 1), 0)
    codes = np.rint(255 * np.sqrt(share)).astype("u1")
    return {
        "code": "positive",
        "shape": list(array.shape),
        "data": _text(codes),
        "scale": _text(scale[..., 0].astype("<f4")),
    }


def pack_signed(array: Float[np.ndarray, "*shape row"]) -> dict[str, Any]:
    """Numbers of either sign, as ``scale * byte / 127``.

    Raises:
        ValueError: as in `pack_positive`.
    """
    scale = _scale(array)
    share = np.where(scale > 0, np.nan_to_num(array) / np.where(scale > 0, scale, 1), 0)
    return {
        "code": "signed",
        "shape": list(array.shape),
        "data": _text(np.rint(127 * share).astype("i1")),
        "scale": _text(scale[..., 0].astype("<f4")),
    }


def _scale(array: Float[np.ndarray, "*shape row"]) -> Float[np.ndarray, "*shape 1"]:
    """The largest magnitude of each row; NaN for a row that has no numbers."""
    known = np.isfinite(array)
    if (known.any(-1) & ~known.all(-1)).any():
        raise ValueError("A row holds NaN or infinity beside numbers.")
    scale: np.ndarray = np.abs(array).max(-1, keepdims=True)
    return np.where(known.all(-1, keepdims=True), scale, np.nan)


def _text(array: Shaped[np.ndarray, "..."]) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 9)).decode()


def _picture(data: bytes) -> str | None:
    """A ``data:`` URL; None where the image does not decode.

    It is decoded and written anew: nothing of the file but its pixels gets onto the page.
    """
    try:
        image = ImageFile.of(data).open()
    except BadItemError:
        return None
    if max(image.size) > _LONGEST:
        image.thumbnail((_LONGEST, _LONGEST))
    form = "PNG" if max(image.size) <= 128 else "JPEG"
    file = io.BytesIO()
    image.save(file, form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
