"""JSON Lines, TSV and CSV, a row at a time: an index of offsets, eight bytes for each row."""

import csv
import io
import json
import weakref
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

from diysink.evaluation.benchmarks.readers.storage import StoredFile, reading
from diysink.records import SourceError
from diysink.records.rejection import excerpt

LONGEST = 128 * 2**20
"""Bytes of a row: an image of 64 MiB in base64, and its texts."""


class Lines(ABC):
    """The rows of a text file by number.

    Args:
        file: UTF-8.
        longest: bytes that a row may have.

    Raises:
        SourceError: a row is longer, or the file has none.
    """

    _before = 0  # lines that are no rows

    def __init__(self, file: StoredFile, longest: int = LONGEST) -> None:
        self.name = file.name
        self._longest = longest
        self._file = file.open()
        weakref.finalize(self, self._file.close)
        with reading(self.name):
            self._starts = array("Q", self._scan())
        if len(self) < 1:
            raise SourceError(f"{self.name} is empty: it has no rows")

    def __len__(self) -> int:
        return len(self._starts) - 1 - self._before

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = range(len(self))[index]
        return self._row(self._text(number + self._before), number)

    def only(self, *columns: str) -> "Lines":
        """The same rows: a text is read whole."""
        return self

    def _text(self, line: int) -> str:
        start, end = self._starts[line], self._starts[line + 1]
        with reading(self.name):
            self._file.seek(start)
            data = self._file.read(end - start)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise SourceError(f"{self.name}, line {line}: not UTF-8 ({error.reason})") from error

    def _scan(self) -> Iterator[int]:
        """Where each row begins, and where the last one ends."""
        at = 0
        for length, blank in self._lengths():
            if not blank:
                yield at
            at += length
        yield at

    def _lengths(self) -> Iterator[tuple[int, bool]]:
        """Bytes of each row and whether it is blank."""
        size, open_quote, blank = 0, False, True
        while line := self._file.readline(self._longest - size + 1):
            size += len(line)
            if size > self._longest:
                raise SourceError(f"{self.name}: a row of more than {self._longest} bytes")
            open_quote ^= self._odd_quotes(line)
            blank = blank and not line.strip(b"\r\n")
            if not open_quote:
                yield size, blank
                size, blank = 0, True
        if size:
            yield size, blank

    def _odd_quotes(self, line: bytes) -> bool:
        """Whether a quoted value begins in this line and goes on in the next, or ends in it."""
        return False

    @abstractmethod
    def _row(self, text: str, number: int) -> dict[str, Any]:
        """The row that a text is; ``number`` is for its errors."""


class JSONLines(Lines):
    """An object in each line."""

    def _row(self, text: str, number: int) -> dict[str, Any]:
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SourceError(
                f"{self.name}, row {number}: not JSON ({str(error)[:200]})"
            ) from error
        if not isinstance(row, dict):
            raise SourceError(f"{self.name}, row {number}: {excerpt(row)}; expected an object")
        return row


class Delimited(Lines):
    """TSV or CSV with a line of names; values with tabs, quotes or line ends are quoted.

    Args:
        file: UTF-8.
        delimiter: between values.
        longest: bytes that a row may have.
    """

    _before = 1  # the names

    def __init__(self, file: StoredFile, delimiter: str = "\t", longest: int = LONGEST) -> None:
        self._delimiter = delimiter
        super().__init__(file, longest)
        # The limit is one for the process; rows are held to their own before they come here.
        csv.field_size_limit(max(csv.field_size_limit(), longest))
        self.columns = self._values(self._text(0), "the line of names")

    def _odd_quotes(self, line: bytes) -> bool:
        return line.count(b'"') % 2 == 1  # a quote within a value is doubled

    def _row(self, text: str, number: int) -> dict[str, Any]:
        values = self._values(text, f"row {number}")
        if len(values) != len(self.columns):
            raise SourceError(
                f"{self.name}, row {number}: {len(values)} values, expected {len(self.columns)}: "
                f"{', '.join(self.columns)[:200]}"
            )
        return dict(zip(self.columns, values, strict=True))

    def _values(self, text: str, where: str) -> Sequence[str]:
        try:
            [values] = csv.reader(
                io.StringIO(text, newline=""), delimiter=self._delimiter, strict=True
            )
        except (csv.Error, ValueError) as error:
            raise SourceError(f"{self.name}, {where}: {error}") from error
        return values
