"""What the suites look at: plain tables of properties, read back from the shards as written.

They are computed from the parquet files and not by the code that checked the items on their way
in, so that the suites also watch that code.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from diysink.records import GROUPS, PLACEHOLDER, BadItemError, Records, reading
from pipelines.prepare.settings import GENERATED_SHARE, Prepare

QUARANTINE = "quarantine"
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
    pictures = {}
    for split in splits:
        records = record_table(candidates / split)
        tables[f"{split} records"] = records
        pictures[split] = image_table(candidates / split, prepare.decode_again)
        if split in prepare.group_shares:
            tables[f"{split} groups"] = group_table(records)
    for split in pictures:
        if split in prepare.held_out:
            pictures[split]["shared_with"] = shared_with(split, pictures)
        tables[f"{split} images"] = pictures[split]
    tables[QUARANTINE] = quarantine_table(splits, quarantine)
    return {name: table for name, table in tables.items() if len(table)}


def record_table(folder: Path) -> pd.DataFrame:
    """A row for each record: counts and marks that the rules are about.

    ``speakers`` is one letter a turn (``hghg``); ``expected`` the placeholders that the record's
    images ask for (none where there is no conversation); ``shortest`` the characters of the
    shortest answer, without white space around it.
    """
    rows = []
    for row in _rows(folder):
        turns = row["conversations"]
        answers = [len((turn["value"] or "").strip()) for turn in turns if turn["from"] == "gpt"]
        rows.append(
            {
                "id": row["id"] or None,
                "speakers": "".join((turn["from"] or "?")[:1] for turn in turns),
                "placeholders": sum((turn["value"] or "").count(PLACEHOLDER) for turn in turns),
                "expected": len(row["images"]) if turns else 0,
                "shortest": min(answers, default=None),
                "group": row["group"],
            }
        )
    return pd.DataFrame(
        rows, columns=["id", "speakers", "placeholders", "expected", "shortest", "group"]
    )


def image_table(folder: Path, decode_again: int) -> pd.DataFrame:
    """A row for each image. ``decodes`` is ``yes``, the error, or None where it was not tried."""
    tried = _decoded(folder, decode_again)
    rows = [
        {
            "id": row["id"],
            "sha256": image["sha256"],
            "short_side": min(image["width"], image["height"]),
            "pixels": image["width"] * image["height"],
            "aspect": max(image["width"], image["height"])
            / max(1, min(image["width"], image["height"])),
            "decodes": tried.get(number),
        }
        for number, row in enumerate(_rows(folder))
        for image in row["images"]
    ]
    return pd.DataFrame(
        rows, columns=["id", "sha256", "short_side", "pixels", "aspect", "decodes"]
    ).astype({"decodes": "object"})


def shared_with(split: str, pictures: dict[str, pd.DataFrame]) -> pd.Series:
    """For each image of ``split`` the first other split that has the same file, or None."""
    elsewhere: dict[str, str] = {}
    for name, table in pictures.items():
        if name != split:
            elsewhere |= dict.fromkeys(table["sha256"], name) | elsewhere
    found = [elsewhere.get(digest) for digest in pictures[split]["sha256"]]
    return pd.Series(found, index=pictures[split].index, dtype="object")


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


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.parquet")):
        with reading(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(batch_size=1024, columns=_COLUMNS):
                yield from batch.to_pylist()


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
