"""Sinks drawn on images: each image with its sinks outlined, next to a map of its norms."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from PIL import Image

from diysink.records import BadItemError, ImageFile

_LONGEST = 448  # pixels of an image's longest side on the page


@dataclass(frozen=True)
class Example:
    """One image under one encoder.

    Attributes:
        id: of the record.
        encoder: whose norms and sinks.
        picture: the image as a ``data:`` URL; None where it does not decode.
        norms: the map of norms as a ``data:`` URL, dark is low.
        rows: of patches.
        columns: of patches.
        sinks: (row, column) of each sink.
        range: lowest and highest norm.
    """

    id: str
    encoder: str
    picture: str | None
    norms: str
    rows: int
    columns: int
    sinks: tuple[tuple[int, int], ...]
    range: tuple[float, float]


def draw_examples(rows: Sequence[Mapping[str, Any]]) -> list[Example]:
    """The examples, in the order given."""
    return [_example(row) for row in rows]


def _example(row: Mapping[str, Any]) -> Example:
    shape = (int(row["rows"]), int(row["columns"]))
    norms = np.asarray(row["norms"], dtype=np.float64).reshape(shape)
    sinks = np.asarray(row["sinks"], dtype=bool).reshape(shape)
    scale = np.log(np.maximum(norms, 1e-12))
    spread = float(scale.max() - scale.min()) or 1.0
    colours = mpl.colormaps["viridis"]((scale - scale.min()) / spread, bytes=True)[..., :3]
    return Example(
        id=str(row["id"]),
        encoder=str(row["encoder"]),
        picture=_picture(row["image"]),
        norms=_url(Image.fromarray(np.ascontiguousarray(colours)), "PNG"),
        rows=shape[0],
        columns=shape[1],
        sinks=tuple((int(r), int(c)) for r, c in np.argwhere(sinks)),
        range=(float(norms.min()), float(norms.max())),
    )


def _picture(data: bytes) -> str | None:
    """Decoded and written anew: nothing of the file but its pixels gets onto the page."""
    try:
        image = ImageFile.of(data).open()
    except BadItemError:
        return None
    if max(image.size) > _LONGEST:
        image.thumbnail((_LONGEST, _LONGEST))
    small = max(image.size) <= 128
    return _url(image, "PNG" if small else "JPEG")


def _url(image: Image.Image, form: str) -> str:
    file = io.BytesIO()
    image.save(file, form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
