"""The table of predictions as arrays that can be compared: every variant, the same items."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray

ALL = "all"


@dataclass(frozen=True)
class Answers:
    """A number for every answer, such as right (1) or wrong (0), by variant, item and seed.

    Attributes:
        images: which image each item asks about, as a number from 0.
        labels: what each item belongs to (its group, its subtask); None where it is not known.
        values: per variant, the number of each item with each of its seeds; NaN: not known.
        seeds: per variant, its training seeds, in the order of the columns of ``values``.
    """

    images: Int[ndarray, " items"]
    labels: tuple[str | None, ...]
    values: dict[str, Float[ndarray, "items seeds"]]
    seeds: dict[str, tuple[int, ...]]

    def groups(self) -> Iterator[tuple[str, Bool[ndarray, " items"]]]:
        """``all``, then every label by name: its name and which items belong to it."""
        yield ALL, np.ones(len(self.labels), dtype=np.bool_)
        labels = np.array(self.labels, dtype=object)
        for label in sorted({label for label in self.labels if label is not None}):
            yield label, (labels == label).astype(np.bool_)


def answers(predictions: pd.DataFrame, by: str, value: str = "correct") -> Answers:
    """A column of numbers in one order for all variants, which must have answered the same items.

    Args:
        predictions: one row per variant, seed and item.
        by: the column that groups the items, such as ``group`` or ``subtask``.
        value: the column of numbers.

    Raises:
        ValueError: a column is missing, an item was answered twice or not at all by some variant
            and seed, or an item has two images or two labels.
    """
    check_columns(predictions, ("variant", "seed", "id", "image", by, value))
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
    values, seeds = {}, {}
    for name, rows in predictions.groupby("variant", sort=False):
        variant = str(name)
        values[variant], seeds[variant] = _of_variant(variant, rows, items["id"], value)
    labels = tuple(None if pd.isna(label) else str(label) for label in items[by])
    return Answers(pd.factorize(items["image"], sort=True)[0], labels, values, seeds)


def check_columns(predictions: pd.DataFrame, names: Iterable[str]) -> None:
    """Raises ValueError if a column is missing."""
    if missing := [name for name in names if name not in predictions]:
        raise ValueError(
            f"The predictions have no column {', '.join(missing)}; there are "
            f"{', '.join(map(str, predictions.columns))}."
        )


def _of_variant(
    variant: str, rows: pd.DataFrame, ids: pd.Series, value: str
) -> tuple[Float[ndarray, "items seeds"], tuple[int, ...]]:
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
    table = rows.pivot(index="id", columns="seed", values=value).loc[ids, seeds]
    return table.to_numpy().astype(np.float64), tuple(int(seed) for seed in seeds)
