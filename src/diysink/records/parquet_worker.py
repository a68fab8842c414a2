"""Decodes a parquet file under a limit on memory and writes its rows to standard output.

Run by `diysink.records.parquet` as a script. It imports pyarrow alone, so that it starts in a
sixth of a second. Rows go out as an Arrow stream, in pieces of known size; on failure the last
line on standard error is JSON: kind, row, detail.
"""

import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_NESTED_LEVELS = 8  # an item has 3
_TEXTS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
)


class RefusedError(Exception):
    """The file is not read further: ``kind, row, detail``."""


def main(job: dict[str, Any]) -> int:
    """Write the rows of ``job["path"]``; return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    pa.set_cpu_count(1)  # the stacks of threads count as memory, too
    pa.set_io_thread_count(1)
    _limit_memory(job["memory"])
    progress = {"row": 0}
    try:
        _write(job, progress)
    except RefusedError as error:
        kind, row, detail = error.args
    except MemoryError:  # pyarrow's own is one, too
        kind, row, detail = "memory", progress["row"], ""
    except BrokenPipeError:
        return 1  # nobody reads any more
    except Exception as error:  # whatever a library makes of a damaged file
        kind, row, detail = "unreadable", progress["row"], f"{type(error).__name__}: {error}"[:400]
    else:
        return 0
    print(json.dumps({"kind": kind, "row": row, "detail": detail}), file=sys.stderr)
    return 3


def _limit_memory(extra: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    import resource

    status = Path("/proc/self/status").read_text()
    now = int(status.split("VmSize:")[1].split()[0]) * 1024
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = now + extra if hard == resource.RLIM_INFINITY else min(now + extra, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def _write(job: dict[str, Any], progress: dict[str, int]) -> None:
    size = Path(job["path"]).stat().st_size
    allowed, sent = max(job["total"], job["ratio"] * size), 0
    # Not mapped, not read ahead: a row group may be larger than the memory there is.
    with pq.ParquetFile(
        job["path"], pre_buffer=False, buffer_size=2**20, arrow_extensions_enabled=False
    ) as file:
        before = range(job["first"])
        progress["row"] = sum(file.metadata.row_group(group).num_rows for group in before)
        names = file.schema_arrow.names
        if not set(job["required"]) <= set(names):
            shown = str(sorted(name[:40] for name in names[:50]))
            raise RefusedError("columns", 0, shown)
        known = [name for name in job["columns"] if name in names]
        others = [name for name in names if name not in known and len(name) <= 64]
        media = [name for name in others if re.fullmatch(job["media"], name)]
        types = [_plain_type(file.schema_arrow.field(name).type, name) for name in known]
        schema = pa.schema(
            [*zip(known, types, strict=True), *((name, pa.bool_()) for name in media)],
            metadata={"known": str(len(known))},
        )
        with pa.ipc.new_stream(pa.PythonFile(sys.stdout.buffer, mode="w"), schema) as stream:
            for group in range(job["first"], file.metadata.num_row_groups):
                for batch in _group(file, group, schema, job, progress):
                    sent += _weight(batch)[0]
                    if sent > allowed:
                        detail = f"its {size} bytes become more than {sent // 2**20} MiB"
                        raise RefusedError("expands", progress["row"], detail)
                    stream.write_batch(batch)
                    progress["row"] += batch.num_rows


def _group(
    file: pq.ParquetFile,
    group: int,
    schema: pa.Schema,
    job: dict[str, Any],
    progress: dict[str, int],
) -> Iterator[pa.RecordBatch]:
    """The rows of a row group in pieces, as many at a time as fit into memory."""
    first = progress["row"]
    for rows in (64, 8, 1):
        try:
            skip = progress["row"] - first  # what went out before memory was short
            for batch in file.iter_batches(
                batch_size=rows, row_groups=[group], columns=schema.names, use_threads=False
            ):
                if skip >= batch.num_rows:
                    skip -= batch.num_rows
                    continue
                plain = _plain(batch.slice(skip), schema)
                skip = 0
                yield from _pieces(plain, job, progress["row"])
        except MemoryError:
            if rows == 1:
                raise
        else:
            return


def _pieces(batch: pa.RecordBatch, job: dict[str, Any], row: int) -> Iterator[pa.RecordBatch]:
    size, elements = _weight(batch)
    if batch.num_rows == 1 and (size > job["row"] or elements > job["elements"]):
        raise RefusedError("row", row, f"{size / 2**20:.0f} MiB in {elements} values")
    if batch.num_rows > 1 and (size > job["piece"] or elements > job["elements"]):
        half = batch.num_rows // 2
        yield from _pieces(batch.slice(0, half), job, row)
        yield from _pieces(batch.slice(half), job, row + half)
    else:
        yield batch


def _weight(batch: pa.RecordBatch) -> tuple[int, int]:
    """Bytes, and values with nested ones."""
    return batch.nbytes, sum(_elements(column) for column in batch.columns)


def _elements(array: pa.Array) -> int:
    kind = array.type
    if pa.types.is_struct(kind):
        return len(array) + sum(_elements(each) for each in array.flatten())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return len(array) + _elements(array.flatten())
    return len(array)


def _plain(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with each value written out: what it weighs is what it will take."""
    known = int(schema.metadata[b"known"])
    columns = []
    for number, field in enumerate(schema):
        array = batch.column(field.name)
        if number >= known:
            array = _holds_any(array)
        elif pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        columns.append(array if array.type == field.type else array.cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _plain_type(kind: pa.DataType, column: str, levels: int = _NESTED_LEVELS) -> pa.DataType:
    """The type with dictionaries and views written out."""
    types = pa.types
    if levels == 0:
        raise RefusedError("type", 0, f"column {column[:40]!r} is nested too deep")
    if types.is_dictionary(kind):
        return _plain_type(kind.value_type, column, levels - 1)
    if types.is_string_view(kind):
        return pa.large_string()
    if types.is_binary_view(kind):
        return pa.large_binary()
    if types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return pa.struct([(f.name, _plain_type(f.type, column, levels - 1)) for f in fields])
    if types.is_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(_plain_type(kind.value_type, column, levels - 1))
    if types.is_large_list(kind):
        return pa.large_list(_plain_type(kind.value_type, column, levels - 1))
    if types.is_nested(kind) or types.is_run_end_encoded(kind):
        raise RefusedError("type", 0, f"column {column[:40]!r} is of type {str(kind)[:80]}")
    return kind


def _holds_any(array: pa.Array) -> pa.Array:
    """For each row whether there is anything; an empty text or list is nothing."""
    kind, types = array.type, pa.types
    if types.is_dictionary(kind):
        return pc.fill_null(_holds_any(array.dictionary).take(array.indices), False)
    if types.is_struct(kind):
        found = pa.array([False] * len(array))
        for each in array.flatten():
            found = pc.or_(found, _holds_any(each))
        return found
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pc.fill_null(pc.greater(pc.list_value_length(array), 0), False)
    if any(is_kind(kind) for is_kind in _TEXTS):
        return pc.fill_null(pc.greater(pc.binary_length(array), 0), False)
    if types.is_floating(kind):
        return pc.fill_null(pc.invert(pc.is_nan(array)), False)
    return array.is_valid()


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
