"""What is known of images: one row per image and attribute, with a place where it has one.

The records' own questions are such labels for any data set: a question of a subtask that can be
put to every image (``scene``, ``lighting``) labels the image with its answer. What a data set
knows besides (objects and their boxes) comes as a table of the same columns from whoever runs the
analysis. Columns:

- ``image``: SHA-256 of the image's file, as in the records;
- ``attribute``, ``label``: what it is about, and its value;
- ``scope``: ``global``, of the whole image, or ``local``, of one place in it;
- ``top, left, bottom, right``: the place, in fractions of the image as the encoder gets it (where
  its processor crops, so must be the boxes); empty for the whole image.
"""

from collections.abc import Iterable, Sequence

import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from diysink.artifact import digest_json
from diysink.records import Record

BOX = ("top", "left", "bottom", "right")
COLUMNS = ("image", "attribute", "scope", "label", *BOX)


def record_labels(records: Iterable[Record], groups: Sequence[str] = ("global",)) -> pd.DataFrame:
    """The answers to each image's questions of some groups, one row per image and subtask.

    A record without subtask, or with other than one image, one question and one answer, labels
    nothing; of two answers to the same subtask the first counts.

    Args:
        records: with group and subtask.
        groups: whose answers are labels of the image whatever the wording of the question; they
            become the scope.
    """
    rows = [
        (record.images[0].sha256, record.subtask, record.group, record.conversations[1].text)
        for record in records
        if record.group in groups
        and record.subtask is not None
        and len(record.images) == 1
        and len(record.conversations) == 2
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS[:4]), dtype="object")
    for side in BOX:
        table[side] = pd.Series(dtype="float64")
    return table.drop_duplicates(["image", "attribute"], ignore_index=True)


def read_labels(path: str) -> pd.DataFrame:
    """A caller's file of labels, CSV or parquet; for the errors see `checked`."""
    return checked(pd.read_parquet(path) if path.endswith(".parquet") else pd.read_csv(path))


def checked(labels: pd.DataFrame) -> pd.DataFrame:
    """A caller's table of labels, its columns in order.

    Raises:
        ValueError: a column is missing, a scope is neither global nor local, or a box is empty,
            reversed or outside the image.
    """
    if missing := [name for name in COLUMNS[:4] if name not in labels]:
        raise ValueError(
            f"the labels lack the columns {', '.join(missing)}; they need {', '.join(COLUMNS[:4])},"
            f" and {', '.join(BOX)} where a label has a place"
        )
    table = labels.reindex(columns=list(COLUMNS)).astype({"label": "str"})
    if unknown := sorted(set(table["scope"]) - {"global", "local"}):
        raise ValueError(f"scopes {unknown}: a label's scope is global or local")
    for side in BOX:
        table[side] = table[side].astype("float64")
    placed = table[table[list(BOX)].notna().any(axis=1)]
    good = (
        (placed["top"] >= 0)
        & (placed["left"] >= 0)
        & (placed["top"] < placed["bottom"])
        & (placed["left"] < placed["right"])
        & (placed["bottom"] <= 1)
        & (placed["right"] <= 1)
    )
    if not good.all():
        raise ValueError(
            f"{int((~good).sum())} boxes are not 0 <= top < bottom <= 1, 0 <= left < right <= 1, "
            f"such as {placed[~good].iloc[0][list(BOX)].tolist()}: give fractions of the image"
        )
    return table.reset_index(drop=True)


def one_per_image(labels: pd.DataFrame, seed: int) -> pd.DataFrame:
    """One row per image and attribute, drawn by image and place: the same object for all it has."""
    rank = [
        digest_json([seed, row.image, str([row.top, row.left, row.bottom, row.right])])
        for row in labels.itertuples()
    ]
    order = labels.assign(rank=rank).sort_values(["image", "rank"], kind="stable")
    return order.drop_duplicates(["image", "attribute"], ignore_index=True).drop(columns="rank")


def boxes_of(labels: pd.DataFrame) -> dict[str, list[list[float]]]:
    """By image: top, left, bottom, right of its labels that have a place."""
    boxes: dict[str, list[list[float]]] = {}
    if not labels.empty:
        placed = labels[labels[BOX[0]].notna()]
        for image, box in zip(placed["image"], placed[list(BOX)].to_numpy(float), strict=True):
            boxes.setdefault(str(image), []).append(box.tolist())
    return boxes


def box_tokens(box: Sequence[float], rows: int, columns: int) -> Bool[Tensor, " tokens"]:
    """The patches whose centre is in a box; the patch at its own centre where there is none.

    Args:
        box: top, left, bottom, right, in fractions of the image.
        rows: of the patch grid.
        columns: of the patch grid.
    """
    top, left, bottom, right = box
    y = (torch.arange(rows) + 0.5) / rows
    x = (torch.arange(columns) + 0.5) / columns
    inside = ((y >= top) & (y < bottom))[:, None] & ((x >= left) & (x < right))[None]
    if not inside.any():
        inside[int((top + bottom) / 2 * rows), int((left + right) / 2 * columns)] = True
    return inside.flatten()
