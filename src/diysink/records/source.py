"""Where a user's items come from: a JSON list, parquet of that shape, or a plain image folder.

A source yields raw items one by one and never holds all of them; what is wrong with one item is
`check_item`'s business, what is wrong with the source as a whole is a `SourceError`.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from diysink.records.folder import ImageFolder, SourceError

COLUMNS = ("id", "image", "conversations", "group", "subtask")
_PIECE = 2**20  # characters read at a time
_LONGEST = 2**26  # characters in one JSON item


@dataclass(frozen=True)
class Source:
    """Items to be taken in.

    Attributes:
        items: gives an iterator over raw items, the same ones each time.
        images: where their image paths start.
        conversations: False where items are only images.
    """

    items: Callable[[], Iterator[Any]]
    images: ImageFolder
    conversations: bool


def open_source(records: Path | str | None, images: Path | str) -> Source:
    """A source of items.

    Args:
        records: a JSON file (a list of items), a parquet file, a folder of parquet files, or
            None: every file of ``images`` is an item without conversations.
        images: the image folder.

    Raises:
        SourceError: one of them does not exist.
    """
    folder = ImageFolder(images)
    if records is None:
        return Source(lambda: folder_items(folder.root), folder, conversations=False)
    path = Path(records)
    if path.is_dir():
        parts = sorted(path.glob("*.parquet"))
        if not parts:
            raise SourceError(
                f"{path}: a folder of records must have .parquet files, this has none"
            )
    elif path.is_file():
        with path.open("rb") as file:
            parts = [path] if file.read(4) == b"PAR1" else []
    else:
        raise SourceError(f"{path}: no such file; give a JSON list or parquet of LLaVA's records")
    if parts:
        return Source(lambda: parquet_items(parts), folder, conversations=True)
    return Source(lambda: json_items(path), folder, conversations=True)


def folder_items(root: Path) -> Iterator[dict[str, str]]:
    """Every file below ``root`` by its relative path, in sorted order; hidden ones are left out.

    A link to a folder is not followed: it is given as an item, and will be rejected as one.
    """
    names = []
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if (here / name).is_symlink()]
        visible = [name for name in files if not name.startswith(".")]
        names += [(here / name).relative_to(root).as_posix() for name in (*visible, *links)]
    yield from ({"id": name, "image": name} for name in sorted(names))


def parquet_items(parts: list[Path]) -> Iterator[dict[str, Any]]:
    """The rows of parquet files, the columns of LLaVA's format only.

    Raises:
        SourceError: not readable as parquet, or without ``id`` and ``conversations``.
    """
    for path in parts:
        try:
            with pq.ParquetFile(path) as file:
                names = set(file.schema_arrow.names)
                if not {"id", "conversations"} <= names:
                    raise SourceError(
                        f"{path}: columns {sorted(names)}; expected id, image, conversations "
                        "(and group, subtask)"
                    )
                columns = [name for name in COLUMNS if name in names]
                for batch in file.iter_batches(batch_size=64, columns=columns):
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{path}: not readable as parquet ({error})") from error


def json_items(path: Path) -> Iterator[Any]:
    """The items of a JSON list, read piece by piece (LLaVA's own list is a gigabyte).

    Raises:
        SourceError: not UTF-8, not JSON (with the line), or not a list.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from _Scanner(file.read, path).items()
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not UTF-8 text ({error.reason})") from error


class _Scanner:
    """Takes values off the front of a text that arrives in pieces."""

    def __init__(self, read: Callable[[int], str], path: Path) -> None:
        self._read, self._path = read, path
        self._decoder = json.JSONDecoder()
        self._text, self._at, self._line = "", 0, 1

    def items(self) -> Iterator[Any]:
        opening = self._next()
        if opening != "[":
            hint = " JSON Lines? Then make it one list first." if opening == "{" else ""
            raise SourceError(f"{self._path}: expected a JSON list of records.{hint}")
        self._at += 1
        if self._next() != "]":
            yield self._value()
            while self._next() == ",":
                self._at += 1
                yield self._value()
        if self._next() != "]":
            raise self._broken("expected ',' or ']'", self._at)
        self._at += 1
        if self._next():
            raise self._broken("text after the end of the list", self._at)

    def _next(self) -> str:
        """Skip white space; the character that follows, or nothing at the end of the file."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(_PIECE):
                return ""

    def _more(self, amount: int) -> bool:
        piece = self._read(amount)
        if piece:
            self._line += self._text.count("\n", 0, self._at)
            self._text, self._at = self._text[self._at :] + piece, 0
        return bool(piece)

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
                # Near the end of what has been read, a number may go on (1, 1E+, 1E+5).
                if len(self._text) - end >= 3 or not self._more(_PIECE):
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                # What is cut off fails at the end of the text, or at the quote that opens a string.
                cut = error.pos > len(self._text) - 16 or error.msg.startswith("Unterminated")
                length = len(self._text) - self._at
                if not cut or length > _LONGEST or not self._more(max(_PIECE, length)):
                    raise self._broken(error.msg, error.pos) from error
            except (RecursionError, ValueError) as error:  # too deep; a number of 5,000 digits
                raise self._broken(str(error), self._at) from error

    def _broken(self, message: str, position: int) -> SourceError:
        line = self._line + self._text.count("\n", 0, position)
        return SourceError(f"{self._path}, line {line}: not JSON ({message})")
