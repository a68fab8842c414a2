"""Rows of parquet files, one file or many, decoded by a process of its own under a memory limit.

They are read in their order: the next row costs nothing more, any other one begins again at its row
group (a fifth of a second). See `diysink.records.parquet`.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from diysink.evaluation.benchmarks.readers.storage import StoredFile, reading
from diysink.records import SourceError
from diysink.records.parquet import parquet_rows

NO_MEDIA = r"(?!)"  # a pattern that fits nothing: all columns are read as they are
RECENT = 8
"""Rows that are kept, so that the same few can be read again."""


class ParquetRows:
    """Rows by number, over all files in their order.

    Args:
        files: with the same columns.
        columns: that are read; (): all.
        label: name of a column that is added, with the folder that a file lies in.

    Raises:
        SourceError: a file is not parquet, or there are no rows.
    """

    def __init__(
        self, files: Sequence[StoredFile], columns: Sequence[str] = (), label: str | None = None
    ) -> None:
        self._files, self._label = tuple(files), label
        self.name = ", ".join(file.name for file in self._files[:2])
        footers = [_footer(file) for file in self._files]
        self.columns = tuple(columns) or tuple(footers[0].schema.to_arrow_schema().names)
        # Row groups over all files: (file, group within it), and where each begins.
        self._groups = [
            (number, group)
            for number, footer in enumerate(footers)
            for group in range(footer.num_row_groups)
        ]
        sizes = [footers[file].row_group(group).num_rows for file, group in self._groups]
        self._begins = list(accumulate(sizes, initial=0))
        if not len(self):
            raise SourceError(f"{self.name} is empty: it has no rows")
        self._rows: Iterator[dict[str, Any]] = iter(())
        self._next = -1
        self._recent: OrderedDict[int, dict[str, Any]] = OrderedDict()

    def __len__(self) -> int:
        return self._begins[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = range(len(self))[index]
        if number not in self._recent:
            self._recent[number] = self._read(number)
            if len(self._recent) > RECENT:
                self._recent.popitem(last=False)
        return self._recent[number]

    def only(self, *columns: str) -> "ParquetRows":
        """The same rows, of which only some columns are read."""
        known = [name for name in columns if name in self.columns]
        return ParquetRows(self._files, known, self._label)

    def _read(self, number: int) -> dict[str, Any]:
        group = bisect_right(self._begins, number) - 1
        if not self._begins[group] <= self._next <= number:
            self._rows, self._next = self._from(group), self._begins[group]
        for row in self._rows:
            self._next += 1
            if self._next > number:
                return row
        raise SourceError(f"{self.name}: its footer promises {len(self)} rows, it has {self._next}")

    def _from(self, group: int) -> Iterator[dict[str, Any]]:
        """All rows from a row group on."""
        first, within = self._groups[group]
        for number in range(first, len(self._files)):
            file = self._files[number]
            label = {} if self._label is None else {self._label: file.folder}
            rows = parquet_rows(
                file.local,
                required=self.columns,
                columns=self.columns,
                media=NO_MEDIA,
                first=within if number == first else 0,
            )
            yield from (row | label for row in rows)


def _footer(file: StoredFile) -> pq.FileMetaData:
    with reading(file.name):
        try:
            return pq.read_metadata(file.local)
        except (pa.ArrowException, ValueError, MemoryError) as error:
            raise SourceError(
                f"{file.name}: not readable as parquet ({str(error)[:200]})"
            ) from error
