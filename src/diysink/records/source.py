"""Where a user's items come from: a JSON list, parquet, or a plain image folder.

A source yields raw items one by one and never holds all of them; what is wrong with one item is
`check_item`'s business, what is wrong with the source as a whole is a `SourceError`.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diysink.records.check import TooDeep
from diysink.records.folder import ImageFolder, SourceError
from diysink.records.formats import LLAVA, READERS, Reader
from diysink.records.parquet import parquet_rows

_PIECE = 2**20  # characters read at a time
# Characters in one JSON item: 4 MiB of text, every byte of it written as six (\u0001), and more.
_LONGEST = 2**25
_TOKEN = re.compile(r'[\[\]{}"]')
_PICKLES = (".pk", ".pkl", ".pickle")
_PICKLE = re.compile(rb"\x80[\x02-\x05]")  # how protocols 2 to 5 begin
_QUOTE = re.compile(r'(?<!\\)(?:\\\\)*"')


@dataclass(frozen=True)
class Source:
    """Items to be taken in.

    Attributes:
        items: gives an iterator over raw items, the same ones each time.
        images: where their image paths start.
        conversations: False where items are only images.
        reader: makes LLaVA's items of them.
    """

    items: Callable[[], Iterator[Any]]
    images: ImageFolder
    conversations: bool
    reader: Reader = LLAVA


def open_source(
    records: Path | str | None,
    images: Path | str,
    allowed_roots: Iterable[Path | str] = (),
    *,
    conversations: bool = True,
    format: str = "llava",  # the word of the datasets library, too
    any_extension: bool = False,
) -> Source:
    """A source of items.

    Args:
        records: a JSON file (a list of items), a parquet file, a folder of parquet files, or
            None: every file of ``images`` is an item without conversations.
        images: the image folder.
        allowed_roots: folders into which links in the image folder may lead; see `ImageFolder`.
        conversations: whether parquet must have ``id`` and ``conversations``; False: ``image``.
        format: schema of the items, a name in :data:`diysink.records.READERS`.
        any_extension: whether an image may have another extension than named; see `ImageFolder`.

    Raises:
        SourceError: one of them does not exist, or is a pickle.
        ValueError: an unknown format.
    """
    if format not in READERS:
        raise ValueError(f"format {format!r}; one of {', '.join(READERS)}")
    reader = READERS[format]
    folder = ImageFolder(images, allowed_roots, any_extension=any_extension)
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
            beginning = file.read(4)
        if path.suffix in _PICKLES or _PICKLE.match(beginning):
            raise SourceError(
                f"{path} is a pickle, which runs code when it is read, so it is not. Write its "
                "items as a JSON list where you trust it"
            )
        parts = [path] if beginning == b"PAR1" else []
    else:
        raise SourceError(f"{path}: no such file; give a JSON list or parquet of LLaVA's records")
    if parts:
        required = reader.required if conversations else ("image",)
        return Source(
            lambda: parquet_items(parts, reader.columns, required), folder, conversations, reader
        )
    return Source(lambda: json_items(path), folder, conversations=True, reader=reader)


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


def parquet_items(
    parts: list[Path], columns: Sequence[str], required: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The rows of parquet files, some columns and those of other media only.

    Raises:
        SourceError: see `parquet_rows`.
    """
    for path in parts:
        yield from parquet_rows(path, columns=columns, required=required)


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
                if not cut or not self._longer():
                    raise self._broken(error.msg, error.pos) from error
            except RecursionError:
                beyond = self._end_of_value()
                if beyond is not None:
                    self._at = beyond
                    return TooDeep()
                if not self._longer():
                    raise self._broken("nested too deep, and never closed", self._at) from None
            except ValueError as error:  # a number of 5,000 digits
                raise self._broken(str(error), self._at) from error

    def _longer(self) -> bool:
        """Read as much again of an item that is not complete; False at the end of the file."""
        length = len(self._text) - self._at
        if length > _LONGEST:
            raise self._broken(f"an item of more than {_LONGEST} characters", self._at)
        return self._more(max(_PIECE, min(length, _LONGEST + 1 - length)))

    def _end_of_value(self) -> int | None:
        """Where the list or object that begins here ends, without building it."""
        depth, at = 0, self._at
        while found := _TOKEN.search(self._text, at):
            at = found.end()
            match found.group():
                case '"':
                    closing = _QUOTE.search(self._text, at)
                    if closing is None:
                        return None
                    at = closing.end()
                case "[" | "{":
                    depth += 1
                case _:
                    depth -= 1
                    if depth == 0:
                        return at
        return None

    def _broken(self, message: str, position: int) -> SourceError:
        line = self._line + self._text.count("\n", 0, position)
        return SourceError(f"{self._path}, line {line}: not JSON ({message})")
