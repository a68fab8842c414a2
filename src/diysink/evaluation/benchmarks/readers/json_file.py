"""The entries of a JSON file, one at a time: a list, an object of entries, or one within an object.

The file is read once, piece by piece, to note where each entry lies; an entry is read again when it
is asked for. 16 bytes and its key are kept of each, never the whole file: the annotations of VQAv2
would be gigabytes as Python objects.
"""

import codecs
import json
import weakref
from array import array
from collections.abc import Callable, Iterator
from io import BufferedIOBase
from typing import Any

from diysink.evaluation.benchmarks.readers.storage import StoredFile, reading
from diysink.records import SourceError
from diysink.records.rejection import excerpt

PIECE = 2**20
LONGEST = 2**25
"""Characters of one entry."""


class JSONFile:
    """Entries by number.

    Args:
        file: UTF-8.
        within: the key of an object at the top whose value has the entries, such as ``questions``;
            None: the top has them.
        key: under what name an entry of an object carries its key, such as ``question_id``.
        keep: which entries count; None: all.
        see: told of each entry that counts and its number, while the file is read for the first
            time.

    Raises:
        SourceError: not JSON, not UTF-8, an entry that is no object or too long, no entries.
    """

    def __init__(
        self,
        file: StoredFile,
        *,
        within: str | None = None,
        key: str | None = None,
        keep: Callable[[dict[str, Any]], bool] | None = None,
        see: Callable[[dict[str, Any], int], None] | None = None,
    ) -> None:
        self.name = file.name
        self._key = key
        self._keys: list[str] = []
        self._starts, self._ends = array("Q"), array("Q")
        self._file = file.open()
        weakref.finalize(self, self._file.close)
        with reading(self.name):
            for name, entry, start, end in _Scanner(self._file, self.name).entries(within):
                row = self._row(entry, name)
                if keep is None or keep(row):
                    if see is not None:
                        see(row, len(self))
                    self._starts.append(start)
                    self._ends.append(end)
                    if key is not None:
                        self._keys.append(str(name))
        if not self._starts:
            raise SourceError(f"{self.name} has no entries that count")

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = range(len(self))[index]
        start, end = self._starts[number], self._ends[number]
        with reading(self.name):
            self._file.seek(start)
            data = self._file.read(end - start)
        return self._row(json.loads(data), self._keys[number] if self._keys else None)

    def only(self, *columns: str) -> "JSONFile":
        """The same rows: a text is read whole."""
        return self

    def _row(self, entry: Any, name: str | None) -> dict[str, Any]:
        if not isinstance(entry, dict):
            raise SourceError(f"{self.name}: an entry is {excerpt(entry)}; expected an object")
        return entry if self._key is None else {self._key: name, **entry}


class _Scanner:
    """Takes values off the front of a text that arrives in pieces, and knows where they lie."""

    def __init__(self, file: BufferedIOBase, name: str) -> None:
        self._file, self._name = file, name
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._json = json.JSONDecoder()
        self._text, self._at = "", 0
        self._byte = 0  # where self._text[self._at] lies in the file
        if file.read(3) != codecs.BOM_UTF8:
            file.seek(0)
        else:
            self._byte = 3

    def entries(self, within: str | None) -> Iterator[tuple[str | None, Any, int, int]]:
        """Key (None in a list), value, and the bytes where it begins and ends."""
        if within is not None:
            self._enter(within)
        opening = self._peek()
        if opening not in ("[", "{"):
            raise self._broken(f"expected a list or an object, found {opening or 'nothing'!r}")
        closing = "]" if opening == "[" else "}"
        self._take(1)
        while (mark := self._peek()) != closing:
            name = self._name_of_entry() if opening == "{" else None
            start = self._begin()
            value = self._value()
            yield name, value, start, self._byte
            if (mark := self._peek()) == ",":
                self._take(1)
                if self._peek() == closing:
                    raise self._broken("a comma before the end")
            elif mark != closing:
                raise self._broken(f"expected ',' or {closing!r}, found {mark or 'the end'!r}")

    def _enter(self, within: str) -> None:
        if self._peek() != "{":
            raise self._broken(f"expected an object with {within!r}")
        self._take(1)
        while self._peek() not in ("}", ""):
            if self._name_of_entry() == within:
                return
            self._value()
            if self._peek() == ",":
                self._take(1)
        raise self._broken(f"has no {within!r}")

    def _name_of_entry(self) -> str:
        name = self._value()
        if not isinstance(name, str) or self._peek() != ":":
            raise self._broken("expected a name and ':'")
        self._take(1)
        return name

    def _begin(self) -> int:
        self._peek()
        return self._byte

    def _peek(self) -> str:
        """Skip white space; the character that follows, or nothing at the end of the file."""
        while True:
            end = self._at
            while end < len(self._text) and self._text[end] in " \t\r\n":
                end += 1
            self._take(end - self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(PIECE):
                return ""

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # What is cut off fails at the end of the text, or at the quote of a string.
                cut = error.pos > len(self._text) - 16 or error.msg.startswith("Unterminated")
                if not cut or not self._more(max(PIECE, len(self._text) - self._at)):
                    raise self._broken(error.msg) from error
            except (RecursionError, ValueError) as error:  # nested too deep; 5,000 digits
                raise self._broken(str(error)) from error
            else:
                length = end - self._at
                # Near the end of what has been read, a number may go on (1, 1E+, 1E+5).
                if len(self._text) - end >= 3 or not self._more(PIECE):
                    self._take(length)
                    return value

    def _take(self, length: int) -> None:
        self._byte += len(self._text[self._at : self._at + length].encode())
        self._at += length

    def _more(self, amount: int) -> bool:
        if len(self._text) - self._at > LONGEST:
            raise self._broken(f"an entry of more than {LONGEST} characters")
        try:
            data = self._file.read(amount)
            piece = self._decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise self._broken(f"not UTF-8 ({error.reason})") from error
        self._text, self._at = self._text[self._at :] + piece, 0
        return bool(data)

    def _broken(self, message: str) -> SourceError:
        return SourceError(
            f"{self._name}, near byte {self._byte}: not the JSON expected ({message})"
        )
