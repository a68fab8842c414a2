"""Sums over images, by label and by unit, of which metrics make their numbers."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float, Real
from numpy import ndarray

Sums = Mapping[str, Float[ndarray, "*draws"]]
Numbers = dict[str, Float[ndarray, "*draws"]]


def by_image(images: pd.Series, columns: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Each column's sum in every image (the index)."""
    return pd.DataFrame(columns).astype(float).groupby(images).sum()


def by_label(labels: pd.Series, columns: Mapping[str, pd.Series]) -> dict[str, pd.Series]:
    """Each column once for every label, 0 where a row has another one: ``right OCR``, ...

    Rows without a label are in none of them, rows with several in each of theirs.

    Args:
        labels: a label, none or several for each row.
        columns: numbers, by name.
    """
    there = labels.explode().dropna()
    each = {
        label: pd.Series(labels.index.isin(rows.index), labels.index)
        for label, rows in there.groupby(there)
    }
    return {
        f"{name} {label}": values.where(mine, 0)
        for name, values in columns.items()
        for label, mine in each.items()
    }


def labels_of(sums: Iterable[str], name: str) -> list[str]:
    """The labels under which `by_label` made columns of a name."""
    return [column.removeprefix(f"{name} ") for column in sums if column.startswith(f"{name} ")]


def share(
    part: Real[ndarray, "*draws"], whole: Real[ndarray, "*draws"]
) -> Float[ndarray, "*draws"]:
    """``part / whole``; NaN where there is nothing to count."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)


def mean_there(values: Iterable[Float[ndarray, "*draws"]]) -> Float[ndarray, "*draws"]:
    """The mean of the values that are numbers, draw by draw; NaN where none is."""
    stacked = np.stack(list(values))
    there = np.isfinite(stacked)
    return share(np.where(there, stacked, 0).sum(0), there.sum(0))


def units(rows: pd.DataFrame) -> pd.DataFrame:
    """What is judged as a whole: the rows of one subtask and unit; a row without a unit is one.

    Returns:
        ``subtask``, ``image`` (of the first row), ``right`` (whether all rows are) and ``size``
        (how many rows) of each.
    """
    alone = pd.Series(np.arange(len(rows)), rows.index)
    frame = pd.DataFrame(
        {
            "subtask": rows["subtask"],
            "unit": rows["unit"].astype(object),
            "alone": alone.where(rows["unit"].isna(), -1),
            "image": rows["image"],
            "correct": rows["correct"],
        }
    )
    grouped = frame.groupby(["subtask", "unit", "alone"], dropna=False, sort=False)
    table = grouped.agg(
        image=("image", "first"), right=("correct", "min"), size=("correct", "size")
    ).reset_index()
    return table.assign(right=(table["right"] == 1).astype(float))
