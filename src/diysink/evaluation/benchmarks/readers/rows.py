"""What all readers give: rows by number, never more than a few of them in memory."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Protocol, runtime_checkable

from diysink.evaluation.benchmarks.readers.json_file import JSONFile
from diysink.evaluation.benchmarks.readers.lines import Delimited, JSONLines
from diysink.evaluation.benchmarks.readers.parquet import ParquetRows
from diysink.evaluation.benchmarks.readers.storage import StoredFile
from diysink.records import SourceError


@runtime_checkable
class Rows(Protocol):
    """Rows of published files."""

    name: str

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]:
        """One of them."""
        ...

    def only(self, *columns: str) -> "Rows":
        """The same rows, of which at least these columns are read."""
        ...


def open_rows(files: Sequence[StoredFile], *, label: str | None = None) -> Rows:
    """The rows of files, by the end of their names; several only of parquet.

    Args:
        files: as `Storage.find` gives them, at least one.
        label: of parquet, the name of a column that is added: the folder that a file lies in.

    Raises:
        SourceError: a file of another kind. Pickled files are among them: they run code.
    """
    first = files[0]
    suffix = PurePosixPath(first.member or first.path.name).suffix.lower()
    if suffix == ".parquet":
        return ParquetRows(files, label=label)
    if len(files) > 1:
        raise SourceError(f"{first.name} and {files[1].name}: expected one of them; remove others")
    match suffix:
        case ".jsonl":
            return JSONLines(first)
        case ".json":
            return JSONFile(first)
        case ".tsv":
            return Delimited(first, "\t")
        case ".csv":
            return Delimited(first, ",")
        case _:
            raise SourceError(
                f"{first.name}: read are .parquet, .json, .jsonl, .tsv and .csv, also in a .zip; "
                "pickled files are not, because they run code"
            )
