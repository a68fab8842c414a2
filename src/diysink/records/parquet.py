"""Rows of a parquet file from strangers, read by a process of its own with a limit on its memory.

A parquet file of 4 kB can hold gigabytes: repeated values are stored once, empty pages compress to
nothing, and a footer may claim any size. No look at the file's own figures tells, because they may
lie. So `parquet_worker` decodes it under a hard limit and hands over pieces of known size; if it
runs out of memory, or dies, this process says which file and which row.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from diysink.records.content import MEDIA_KEY
from diysink.records.folder import SourceError
from diysink.records.formats import LLAVA
from diysink.records.rejection import excerpt

# Stands for a cell whose text is not UTF-8: half a character, which no text may hold.
_NOT_UTF8 = "\udc80"


@dataclass(frozen=True)
class ParquetLimits:
    """How much a parquet file may become when it is read.

    Attributes:
        memory: bytes that decoding may take, on top of what the libraries take (Linux only).
        piece: bytes handed over at a time.
        row: bytes of one row; an item's images have 64 MiB at most, its texts 4.
        elements: values in one row, nested ones counted one by one.
        total: bytes that any file may expand to.
        ratio: bytes that a larger file may expand to, for each of its own.
    """

    memory: int = 2**30
    piece: int = 64 * 2**20
    row: int = 256 * 2**20
    elements: int = 1_000_000
    total: int = 2**30
    ratio: int = 200


def parquet_rows(
    path: Path,
    limits: ParquetLimits | None = None,
    columns: Sequence[str] = LLAVA.columns,
    required: Sequence[str] = LLAVA.required,
    media: str = MEDIA_KEY,
    first: int = 0,
) -> Iterator[dict[str, Any]]:
    """The rows of one file: some columns; of columns with other media, whether they hold any.

    Args:
        path: the file.
        limits: of what it may become.
        columns: columns that are read where it has them.
        required: columns that it must have.
        media: a pattern for the names of columns of which it is only told whether they hold any.
        first: the row group to begin with.

    Raises:
        SourceError: not readable as parquet, without the columns that are required, or beyond the
            limits.
    """
    limits = limits or ParquetLimits()
    job = {"path": str(path), "columns": list(columns), "media": media, **asdict(limits)}
    job |= {"required": list(required), "first": first}
    worker = subprocess.Popen(
        # -P: the folder of this package is not searched for modules.
        [sys.executable, "-P", str(Path(__file__).with_name("parquet_worker.py")), json.dumps(job)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Arrow's own allocator sets 1 GiB aside at its first use, whatever is read.
        env=os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"},
    )
    stdout, stderr = cast(IO[bytes], worker.stdout), cast(IO[bytes], worker.stderr)
    rows = 0
    try:
        try:
            with pa.ipc.open_stream(stdout) as stream:
                for batch in stream:
                    yield from _rows(batch)
                    rows += batch.num_rows
        except (pa.ArrowException, OSError, EOFError):
            pass  # the worker stopped half-way: its last words say why
        stdout.close()  # whoever still writes is told so
        code = worker.wait()
        words = stderr.read().decode(errors="replace").strip()
        if code:
            raise SourceError(_explain(path, code, words, rows, limits, required))
    finally:
        worker.kill()
        worker.wait()
        stdout.close()
        stderr.close()


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    try:
        return batch.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException):  # texts that are not UTF-8
        names = batch.schema.names
        return [
            {name: _cell(name, batch.column(name)[row]) for name in names}
            for row in range(batch.num_rows)
        ]


def _cell(name: str, cell: pa.Scalar) -> Any:
    try:
        return cell.as_py()
    except (ValueError, OverflowError, pa.ArrowException):
        return [{"from": "human", "value": _NOT_UTF8}] if name == "conversations" else _NOT_UTF8


def _explain(
    path: Path, code: int, words: str, rows: int, limits: ParquetLimits, required: Sequence[str]
) -> str:
    try:
        said = json.loads(words.splitlines()[-1])
        kind, row, detail = said["kind"], said["row"], said["detail"]
    except (ValueError, LookupError, TypeError):
        # Killed by a signal, or by a library that ends the process when it gets no memory.
        kind, row, detail = "died", rows, f"exit code {code}"
    mib = 2**20
    again = (
        "If the data are right, write the file again with fewer rows in a row group (pyarrow: "
        "row_group_size=32), or keep the images as files and give their paths"
    )
    match kind:
        case "memory":
            return (
                f"{path}, at row {row} or soon after: reading it takes more than "
                f"{limits.memory // mib} MiB of memory. {again}."
            )
        case "row":
            return (
                f"{path}, row {row}: this row alone becomes {detail} when it is read; at most "
                f"{limits.row // mib} MiB and {limits.elements} values are taken. Leave it out."
            )
        case "expands":
            return (
                f"{path}, at row {row}: {detail}; a file of this size may become "
                f"{max(limits.total, limits.ratio * path.stat().st_size) // mib} MiB. It repeats "
                "the same values again and again; give the data without repetition."
            )
        case "columns":
            return (
                f"{path}: columns {detail}; expected at least {', '.join(required)}. Another "
                "format? See docs/guides/your-data.md"
            )
        case "type":
            return f"{path}: {detail}; expected texts, and lists of {{from, value}}"
        case "died":
            return (
                f"{path}, at row {row} or soon after: the process that reads it ended ({detail}). "
                f"The file is damaged, or takes more than {limits.memory // mib} MiB. {again}."
            )
        case _:
            return f"{path}: not readable as parquet ({excerpt(detail, 300)[1:-1]})"
