"""What the suites look at: plain tables of properties, read back from the shards as written.

They are computed from the parquet files and not by the code that checked the items on their way
in, so that the suites also watch that code.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from diysink.records import GROUPS, PLACEHOLDER, BadItemError, Records, reading
from pipelines.prepare.settings import GENERATED_SHARE, Prepare

QUARANTINE = "quarantine"
# As Python's own strip() has it: what the intake calls empty is empty here.
_WHITE = "".join(chr(point) for point in range(sys.maxunicode + 1) if chr(point).isspace())
_COLUMNS = [
    "id",
    *(f"images.list.element.{name}" for name in ("sha256", "width", "height")),
    "conversations",
    "group",
    "subtask",
]


def all_tables(
    candidates: Path,
    splits: dict[str, dict[str, int]],
    quarantine: pd.DataFrame,
    prepare: Prepare,
) -> dict[str, pd.DataFrame]:
    """Tables by name: ``<split> records``, ``<split> images``, ``<split> groups``, quarantine.

    Tables without rows are left out (texts without images, splits without groups).
    """
    tables = {}
    images = {}
    for split in splits:
        records = record_table(candidates / split)
        tables[f"{split} records"] = records
        images[split] = image_table(candidates / split, prepare.decode_again)
        if split in prepare.group_shares:
            tables[f"{split} groups"] = group_table(records)
    for split in images:
        if split in prepare.held_out:
            images[split]["shared_with"] = shared_with(split, images)
        tables[f"{split} images"] = images[split]
    tables[QUARANTINE] = quarantine_table(splits, quarantine)
    return {name: table for name, table in tables.items() if len(table)}


def record_table(folder: Path) -> pd.DataFrame:
    """A row for each record: counts and marks that the rules are about.

    ``speakers`` is one letter a turn (``hghg``); ``expected`` the placeholders that the record's
    images ask for (none where there is no conversation); ``shortest`` the characters of the
    shortest answer, without white space around it.
    """
    names = ["id", "speakers", "placeholders", "expected", "shortest", "group"]
    parts = [_of_records(batch) for batch in _batches(folder)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=names)


def _of_records(batch: pa.RecordBatch) -> pd.DataFrame:
    conversations = batch["conversations"]
    turns = conversations.flatten()
    first_letters = pc.utf8_slice_codeunits(turns.field("from"), 0, 1)
    letters = pc.fill_null(pc.replace_substring_regex(first_letters, "^$", "?"), "?")
    offsets = pc.subtract(conversations.offsets, conversations.offsets[0])
    texts = pc.fill_null(turns.field("value"), "")
    lengths = pc.utf8_length(pc.utf8_trim(texts, characters=_WHITE))
    is_answer = pc.equal(turns.field("from"), "gpt")
    of_turns = pd.DataFrame(
        {
            "placeholders": pc.count_substring(texts, PLACEHOLDER).to_numpy(),
            "shortest": pc.if_else(is_answer, lengths, None).to_numpy(zero_copy_only=False),
        }
    ).groupby(pc.list_parent_indices(conversations).to_numpy())
    rows = range(len(batch))
    has_turns = pc.greater(pc.fill_null(pc.list_value_length(conversations), 0), 0)
    images = pc.fill_null(pc.list_value_length(batch["images"]), 0)
    speakers = pc.binary_join(pa.ListArray.from_arrays(offsets, letters), "")
    return pd.DataFrame(
        {
            "id": _texts(pc.if_else(pc.equal(batch["id"], ""), None, batch["id"])),
            "speakers": _texts(speakers),
            "placeholders": of_turns["placeholders"].sum().reindex(rows, fill_value=0),
            "expected": pc.if_else(has_turns, images, 0).to_numpy(),
            "shortest": of_turns["shortest"].min().reindex(rows).astype("float64"),
            "group": _texts(batch["group"]),
        }
    )


def image_table(folder: Path, decode_again: int) -> pd.DataFrame:
    """A row for each image. ``decodes`` is ``yes``, the error, or None where it was not tried."""
    names = ["id", "sha256", "short_side", "pixels", "aspect", "decodes"]
    tried = _decoded(folder, decode_again)
    parts, first = [], 0
    for batch in _batches(folder):
        parts.append(_of_images(batch, first, tried))
        first += len(batch)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=names)


def _of_images(batch: pa.RecordBatch, first: int, tried: dict[int, str]) -> pd.DataFrame:
    images, rows = batch["images"].flatten(), pc.list_parent_indices(batch["images"])
    sides = [images.field(name).to_numpy(zero_copy_only=False) for name in ("width", "height")]
    short, long = np.minimum(*sides), np.maximum(*sides)
    decodes = [tried.get(first + row) for row in rows.to_pylist()]
    return pd.DataFrame(
        {
            "id": _texts(batch["id"].take(rows)),
            "sha256": _texts(images.field("sha256")),
            "short_side": short,
            "pixels": short.astype("int64") * long,
            "aspect": long / np.maximum(1, short),
            "decodes": pd.Series(decodes, dtype="object"),
        }
    )


def _texts(array: pa.Array) -> pd.Series:
    return pd.Series(array, dtype="str")


def shared_with(split: str, images: dict[str, pd.DataFrame]) -> pd.Series:
    """For each image of ``split`` the first other split that has the same file, or None."""
    mine = images[split]["sha256"]
    found = pd.Series(None, index=mine.index, dtype="object")
    for name, table in images.items():
        if name != split:
            found[found.isna() & mine.isin(table["sha256"])] = name
    return found


def group_table(records: pd.DataFrame) -> pd.DataFrame:
    """Each group's share of the records that have a group; no rows where none has one."""
    counts = records["group"].dropna().value_counts()
    if counts.empty:
        return pd.DataFrame()
    shares = [float(counts.get(group, 0) / counts.sum()) for group in GROUPS]
    return pd.DataFrame({"id": list(GROUPS), "share": shares})


def group_warnings(
    tables: dict[str, pd.DataFrame], splits: Iterable[str], prepare: Prepare
) -> list[str]:
    """What to know of a user's groups where no rule on them was asked for: one text a split.

    Results by group need some records of each group. Data of one group alone are no fault: a
    benchmark may well ask about details only.
    """
    if prepare.generated:
        return []
    warnings = []
    for split in splits:
        records = tables.get(f"{split} records")
        if records is None or split in prepare.group_shares:
            continue
        shares = group_table(records)
        if len(shares) and shares["share"].min() < GENERATED_SHARE:
            shown = ", ".join(
                f"{g} {s:.0%}" for g, s in zip(*shares.to_dict("list").values(), strict=True)
            )
            warnings.append(
                f"{split}: the groups are uneven ({shown} of the labelled records). Results of a "
                "group with few records say little, and of one with none there are none. To make "
                f"this a rule, set prepare.min_group_share.{split}."
            )
    return warnings


def quarantine_table(splits: dict[str, dict[str, int]], quarantine: pd.DataFrame) -> pd.DataFrame:
    """A row for each split: the share of its items that were not taken, and five of them."""
    rows: list[dict[str, Any]] = []
    for split, counts in splits.items():
        bad = quarantine[quarantine["split"] == split].head(5)
        examples = [
            f"item {i}: {r} ({d})"
            for i, r, d in zip(bad["index"], bad["reason"], bad["detail"], strict=True)
        ]
        share = 1 - counts["records"] / counts["items"]
        rows.append({"id": split, "share": share, "examples": examples})
    return pd.DataFrame(rows)


def _batches(folder: Path) -> Iterator[pa.RecordBatch]:
    """What the rules are about, some thousand records at a time; no image."""
    for path in sorted(folder.glob("*.parquet")):
        with reading(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield from file.iter_batches(batch_size=8192, columns=_COLUMNS, use_threads=False)


def _decoded(folder: Path, wanted: int) -> dict[int, str]:
    """Decode the images of up to ``wanted`` records, spread evenly, from the shards."""
    records = Records(folder)
    step = max(1, -(-len(records) // wanted)) if wanted else len(records) + 1
    results = {}
    for index in range(0, len(records), step):
        try:
            for image in records[index].images:
                image.open()
            results[index] = "yes"
        except BadItemError as error:
            results[index] = str(error)
    return results
