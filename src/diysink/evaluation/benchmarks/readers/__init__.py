"""Readers of published files: row by row, from a folder or a .zip, in memory that does not grow."""

from diysink.evaluation.benchmarks.readers.images import Images, embedded
from diysink.evaluation.benchmarks.readers.json_file import JSONFile
from diysink.evaluation.benchmarks.readers.lines import Delimited, JSONLines
from diysink.evaluation.benchmarks.readers.parquet import ParquetRows
from diysink.evaluation.benchmarks.readers.rows import Rows, open_rows
from diysink.evaluation.benchmarks.readers.storage import Storage, StoredFile

__all__ = [
    "Delimited",
    "Images",
    "JSONFile",
    "JSONLines",
    "ParquetRows",
    "Rows",
    "Storage",
    "StoredFile",
    "embedded",
    "open_rows",
]
