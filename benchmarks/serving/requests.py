"""Requests to a served package: good ones in every form that MLflow has, bad ones of all kinds."""

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

JSON, CSV = "application/json", "text/csv"
PARQUET = "application/vnd.apache.parquet"
LARGE = 30_000_000  # bytes of an image that is too large
Cells = Sequence[tuple[Any, Any]]


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        status: of HTTP.
        body: as JSON, or the text that it was.
        seconds: from the first byte sent to the last byte received.
    """

    status: int
    body: Any
    seconds: float


@dataclass(frozen=True, eq=False)
class Request:
    """One request and the reply that it must get.

    Attributes:
        kind: its name in the results.
        body: as it is sent.
        content_type: of the body.
        status: that must come back.
        says: what the error's message must hold.
        answers: the rows that must come back.
    """

    kind: str
    body: bytes
    content_type: str = JSON
    status: int = 200
    says: tuple[str, ...] = ()
    answers: tuple[Mapping[str, Any], ...] = ()

    def fault(self, reply: Reply) -> str | None:
        """What is wrong with a reply; None: nothing."""
        if reply.status != self.status:
            return f"status {reply.status}, not {self.status}: {str(reply.body)[:200]}"
        if self.status == 200:
            found = reply.body["predictions"]
            same = len(found) == len(self.answers) and all(map(_same, found, self.answers))
            return None if same else f"other answers: {str(found)[:200]}"
        said = reply.body["message"] if isinstance(reply.body, dict) else str(reply.body)
        unsaid = [part for part in self.says if part not in said]
        return f"the error does not say {unsaid}: {said[:200]}" if unsaid else None


def text(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


def _same(found: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    # Weights are floats of batches of another size.
    return found.keys() == right.keys() and all(
        abs(found[name] - right[name]) < 1e-4 if name.startswith("weight") else value == right[name]
        for name, value in found.items()
    )


def _split(cells: Cells) -> Any:
    return {"columns": ["image", "question"], "data": [list(cell) for cell in cells]}


def _records(cells: Cells) -> Any:
    return [{"image": image, "question": question} for image, question in cells]


def _columns(cells: Cells) -> Any:
    images, questions = zip(*cells, strict=True)
    return {"image": images, "question": questions}


def _json(key: str, shape: Callable[[Cells], Any]) -> Callable[[Cells], tuple[bytes, str]]:
    return lambda cells: (json.dumps({key: shape(cells)}).encode(), JSON)


def _csv(cells: Cells) -> tuple[bytes, str]:
    return pd.DataFrame(cells, columns=["image", "question"]).to_csv(index=False).encode(), CSV


def _parquet(cells: Cells) -> tuple[bytes, str]:
    data = io.BytesIO()
    files = [(base64.b64decode(image), question) for image, question in cells]
    pd.DataFrame(files, columns=["image", "question"]).to_parquet(data)
    return data.getvalue(), PARQUET


FORMS: dict[str, Callable[[Cells], tuple[bytes, str]]] = {
    "dataframe_split": _json("dataframe_split", _split),
    "dataframe_records": _json("dataframe_records", _records),
    "inputs by column": _json("inputs", _columns),
    "inputs by row": _json("inputs", _records),
    "instances": _json("instances", _records),
    "csv": _csv,
    "parquet": _parquet,
}


def good(form: str, rows: pd.DataFrame) -> Request:
    """Some rows of `image` (bytes), `question` and `answer` (what must come back) in one form."""
    cells = [(text(row.image), row.question) for row in rows.itertuples()]
    body, content_type = FORMS[form](cells)
    return Request(form, body, content_type, answers=tuple(rows["answer"]))


def bomb() -> bytes:
    """A PNG whose header says 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@cache
def large_jpeg() -> str:
    """Base64 of a whole picture of 30 MB: noise, 48 million pixels."""
    data = io.BytesIO()
    Image.effect_noise((8000, 6000), 100).save(data, "JPEG", quality=75)
    return text(data.getvalue() + bytes(max(0, LARGE - len(data.getvalue()))))


@cache
def large_garbage() -> str:
    """Base64 of 30 MB that are no picture."""
    return text(np.random.default_rng(0).bytes(LARGE))


LARGE_ONE = "which is a file of more than"
CELLS: dict[str, tuple[Callable[[str], tuple[Any, Any]], str]] = {
    # A good image's base64 -> the cells of a row, and what is said of it.
    "null question": (lambda good: (good, None), "the question is null"),
    "blank question": (lambda good: (good, " \n"), "the question is empty or blank"),
    "number as question": (lambda good: (good, 7), "the question is of type int"),
    "<image> in the question": (lambda good: (good, "what <image> is"), "'<image>'"),
    "question of a megabyte": (lambda good: (good, "what " * 200_000), "1000000 characters"),
    "null image": (lambda good: (None, "what?"), "the image is null"),
    "text as image": (lambda good: ("a picture!", "what?"), "no base64"),
    "URL as image": (lambda good: ("http://127.0.0.1/a.png", "what?"), "is a URL"),
    "path as image": (lambda good: ("/etc/hostname.png", "what?"), "no base64"),
    "no image": (lambda good: (text(b"no image at all"), "what?"), "cannot be decoded"),
    "truncated image": (lambda good: (good[:200], "what?"), "cannot be decoded"),
    "decompression bomb": (lambda good: (text(bomb()), "what?"), "image_too_large"),
    "JPEG of 30 MB": (lambda good: (large_jpeg(), "what?"), LARGE_ONE),
    "30 MB of garbage": (lambda good: (large_garbage(), "what?"), LARGE_ONE),
}
"""A bad second row of three, in `CELL_FORMS`."""
SLOW = {"JPEG of 30 MB", "30 MB of garbage"}
CELL_FORMS = ("dataframe_records", "dataframe_split", "inputs by row", "inputs by column")
BODIES: dict[str, tuple[bytes, str, int, tuple[str, ...]]] = {
    "no JSON": (b'{"dataframe_records": [', JSON, 400, ("valid JSON",)),
    "no UTF-8": (b"\xff\xfe\x00", JSON, 400, ("valid JSON",)),
    "empty body": (b"", JSON, 400, ("valid JSON",)),
    "list in place of an object": (b"[]", JSON, 400, ("Received a list",)),
    "unknown form": (b'{"rows": []}', JSON, 400, ("exactly one of the input fields",)),
    "two forms": (b'{"inputs": [], "instances": []}', JSON, 400, ("exactly one of",)),
    "no rows": (b'{"dataframe_records": []}', JSON, 400, ("missing inputs ['image'",)),
    "missing column": (b'{"dataframe_records": [{"image": "iVBO"}]}', JSON, 400, ("['question']",)),
    "missing column, csv": (b"image,text\niVBO,what?\n", CSV, 400, ("['question']",)),
    "uneven columns": (
        b'{"inputs": {"image": ["iVBO", "iVBO"], "question": ["a"]}}',
        JSON, 400, ("2 images and 1 questions",),
    ),
    "rows of different kinds": (
        b'{"dataframe_records": [{"image": "iVBO", "question": "a"}, {"image": "iVBO"}]}',
        JSON, 400, ("row 1: the question is null",),
    ),
    "empty csv": (b"", CSV, 400, ("CSV",)),
    "null in csv": (b"image,question\niVBO,\n", CSV, 400, ("row 0: the question is null",)),
    "no parquet": (b"PAR1", PARQUET, 400, ("Parquet",)),
    "plain text": (b"what?", "text/plain", 415, ("content types",)),
}  # fmt: skip
BAD = (*CELLS, *BODIES)


def bad(kind: str, rows: pd.DataFrame, rng: np.random.Generator) -> Request:
    """A bad request of one kind, in one of the forms that can tell it."""
    if kind in BODIES:
        body, content_type, status, says = BODIES[kind]
        return Request(kind, body, content_type, status, says)
    some = rows.sample(3, random_state=rng)
    cells = [(text(row.image), row.question) for row in some.itertuples()]
    make, says_of = CELLS[kind]
    cells[1] = make(cells[1][0])
    forms = CELL_FORMS[:3] if kind == "number as question" else CELL_FORMS
    body, content_type = FORMS[forms[int(rng.integers(len(forms)))]](cells)
    return Request(kind, body, content_type, 400, ("row 1: ", says_of))
