"""The table of predictions as arrays that can be compared: every variant, the same items."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int
from numpy import ndarray

ALL = "all"
_COLUMNS = ("variant", "seed", "id", "image", "correct")


@dataclass(frozen=True)
class Correctness:
    """Right or wrong, by variant, item and training seed.

    Attributes:
        images: which image each item asks about, as a number from 0.
        labels: what each item belongs to (its group, its subtask); None where it is not known.
        correct: per variant, whether it answered each item right with each of its seeds.
        seeds: per variant, its training seeds, in the order of the columns of ``correct``.
    """

    images: Int[ndarray, " items"]
    labels: tuple[str | None, ...]
    correct: dict[str, Bool[ndarray, "items seeds"]]
    seeds: dict[str, tuple[int, ...]]

    def groups(self) -> Iterator[tuple[str, Bool[ndarray, " items"]]]:
        """``all``, then every label by name: its name and which items belong to it."""
        yield ALL, np.ones(len(self.labels), dtype=np.bool_)
        labels = np.array(self.labels, dtype=object)
        for label in sorted({label for label in self.labels if label is not None}):
            yield label, (labels == label).astype(np.bool_)


def correctness(predictions: pd.DataFrame, by: str) -> Correctness:
    """Right or wrong in one order for all variants, which must have answered the same items.

    Args:
        predictions: one row per variant, seed and item (the design document's "Predictions").
        by: the column that groups the items, such as ``group`` or ``subtask``.

    Raises:
        ValueError: a column is missing, an item was answered twice or not at all by some variant
            and seed, or an item has two images or two labels.
    """
    if missing := [name for name in (*_COLUMNS, by) if name not in predictions]:
        raise ValueError(
            f"The predictions have no column {', '.join(missing)}; there are "
            f"{', '.join(map(str, predictions.columns))}."
        )
    if predictions.empty:
        raise ValueError("There are no predictions: nothing was evaluated.")
    items = predictions[["id", "image", by]].drop_duplicates().sort_values("id")
    if (twice := items["id"][items["id"].duplicated()]).size:
        raise ValueError(
            f"{twice.size} items have more than one image or {by}, such as {twice.iloc[0]!r}: "
            "ids must be unique in a split, and all variants must have read the same split."
        )
    if ALL in set(items[by]):
        raise ValueError(
            f"A {by} is called {ALL!r}, which names the row over all items: rename it."
        )
    correct, seeds = {}, {}
    for name, rows in predictions.groupby("variant", sort=False):
        variant = str(name)
        correct[variant], seeds[variant] = _of_variant(variant, rows, items["id"])
    labels = tuple(None if pd.isna(label) else str(label) for label in items[by])
    return Correctness(pd.factorize(items["image"], sort=True)[0], labels, correct, seeds)


def _of_variant(
    variant: str, rows: pd.DataFrame, ids: pd.Series
) -> tuple[Bool[ndarray, "items seeds"], tuple[int, ...]]:
    if rows.duplicated(["seed", "id"]).any():
        one = rows[rows.duplicated(["seed", "id"])].iloc[0]
        raise ValueError(
            f"Variant {variant!r} answered {one['id']!r} more than once with seed {one['seed']}; "
            "keep one answer per variant, seed and item."
        )
    seeds = sorted(rows["seed"].unique().tolist())
    if (missing := len(ids) * len(seeds) - len(rows)) > 0:
        raise ValueError(
            f"Variant {variant!r} lacks {missing} of {len(ids) * len(seeds)} answers "
            f"({len(ids)} items, {len(seeds)} seeds). Compare variants on the same items only: "
            "evaluate it again, or leave it out."
        )
    table = rows.pivot(index="id", columns="seed", values="correct").loc[ids, seeds]
    return table.to_numpy().astype(np.bool_), tuple(int(seed) for seed in seeds)
