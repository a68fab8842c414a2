"""Records on disk: parquet shards that read fast at random, and a manifest.

Uncompressed (images are compressed already), in row groups of 32: one random read touches one
row group. The same records give the same bytes. Each page carries its checksum, and the manifest
that of the footer, so that whoever reads a few records notices damage without reading the file.
"""

import os
from collections.abc import Iterable, Iterator
from io import IOBase
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from diysink.artifact import atomic_path, digest_bytes, write_manifest
from diysink.records.image import ImageFile
from diysink.records.record import Record, Turn

ROW_GROUP = 32
RECORDS_PER_SHARD = 1024
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field(
            "images",
            pa.list_(
                pa.struct(
                    [
                        ("bytes", pa.large_binary()),  # a row group may hold more than 2 GB
                        ("sha256", pa.string()),
                        ("format", pa.string()),
                        ("width", pa.int32()),
                        ("height", pa.int32()),
                    ]
                )
            ),
        ),
        pa.field(
            "conversations", pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))
        ),
        pa.field("group", pa.string()),
        pa.field("subtask", pa.string()),
    ]
)
Item = TypeVar("Item")


def pieces(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of ``size`` items in their order, the last one shorter."""
    if size < 1:
        raise ValueError(f"pieces of {size} items: the size must be at least 1")
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece


def shard_name(number: int) -> str:
    """``part-00000.parquet`` for 0."""
    return f"part-{number:05d}.parquet"


def write_shard(path: Path, records: Iterable[Record]) -> dict[str, Any]:
    """Write one parquet file atomically, a row group at a time.

    Returns:
        What `seal` needs to know of it: ``{"file", "records", "images", "footer"}``; the last is
        the digest that `footer_digest` gives.
    """
    rows = images = 0
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(
            temporary,
            SCHEMA,
            compression="NONE",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        ) as writer,
    ):
        for piece in pieces(records, ROW_GROUP):
            writer.write_table(pa.Table.from_pylist([to_row(r) for r in piece], schema=SCHEMA))
            rows += len(piece)
            images += sum(len(record.images) for record in piece)
    with path.open("rb") as file:
        footer = footer_digest(file)
    return {"file": path.name, "records": rows, "images": images, "footer": footer}


def footer_digest(file: IOBase) -> str:
    """SHA-256 of a parquet file's footer: where everything lies, which no page's checksum covers.

    Raises:
        ValueError: the file has no footer.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    end = file.read()
    length = int.from_bytes(end[:4], "little")
    if end[4:] != b"PAR1" or length + 8 > size:
        raise ValueError("it does not end as a parquet file")
    file.seek(size - 8 - length)
    return digest_bytes(file.read())


def seal(folder: Path, shards: list[dict[str, Any]], **facts: Any) -> dict[str, Any]:
    """Close a split's folder with its manifest; return the manifest."""
    return write_manifest(
        folder,
        kind="records",
        row_group=ROW_GROUP,
        shards=shards,
        records=sum(shard["records"] for shard in shards),
        images=sum(shard["images"] for shard in shards),
        **facts,
    )


def write_shards(
    folder: Path | str, records: Iterable[Record], *, records_per_shard: int = RECORDS_PER_SHARD
) -> dict[str, Any]:
    """Write one split from records in memory, all at once; return its manifest.

    Files under a user's data go through `take_in`, which checks, quarantines and resumes.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shards = [
        write_shard(folder / shard_name(number), piece)
        for number, piece in enumerate(pieces(records, records_per_shard))
    ]
    return seal(folder, shards)


def to_row(record: Record) -> dict[str, Any]:
    """A record as a row of `SCHEMA`."""
    return {
        "id": record.id,
        "images": [
            {
                "bytes": image.data,
                "sha256": image.sha256,
                "format": image.format,
                "width": image.width,
                "height": image.height,
            }
            for image in record.images
        ],
        "conversations": [{"from": t.speaker, "value": t.text} for t in record.conversations],
        "group": record.group,
        "subtask": record.subtask,
    }


def from_row(row: dict[str, Any]) -> Record:
    """The record that `to_row` made a row of."""
    return Record(
        id=row["id"],
        images=tuple(
            ImageFile(i["bytes"], i["sha256"], i["format"], i["width"], i["height"])
            for i in row["images"]
        ),
        conversations=to_turns(row),
        group=row["group"],
        subtask=row["subtask"],
    )


def to_turns(row: dict[str, Any]) -> tuple[Turn, ...]:
    """The conversation in a row of `SCHEMA`."""
    return tuple(Turn(t["from"], t["value"]) for t in row["conversations"])
