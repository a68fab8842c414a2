"""The response to a dose: a comparison at every level of what it should answer to."""

from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

from diysink.evaluation.statistics import comparisons
from diysink.resampling import Bootstrap, holm


def dose_response(
    predictions: pd.DataFrame, compare: Sequence[str], *, bootstrap: Bootstrap
) -> pd.DataFrame:
    """The difference of two variants at every level of one dose, by group.

    Args:
        predictions: one row per level, variant, seed and item.
        compare: the variant and its baseline.
        bootstrap: over images.

    Returns:
        ``level``, what :func:`comparisons` returns, ``accuracy`` of the variant and
        ``baseline_accuracy``. ``p_holm`` is over all levels and groups.
    """
    variant, baseline = compare
    tables = []
    for level, rows in predictions.groupby("level", sort=True):
        known = pd.concat([rows, rows.assign(group="all")])
        accuracy = known.groupby(["variant", "group"])["correct"].mean()
        table = comparisons(rows, [(variant, baseline)], bootstrap=bootstrap)
        tables.append(
            table.assign(
                level=level,
                accuracy=[accuracy[variant, group] for group in table["group"]],
                baseline_accuracy=[accuracy[baseline, group] for group in table["group"]],
            )
        )
    whole = pd.concat(tables, ignore_index=True)
    return whole.assign(p_holm=holm(whole["p"].tolist()))


def in_order(differences: Sequence[float], planted: str) -> bool:
    """Whether the differences rise, or fall, from each level to the next.

    >>> in_order([0.0, 0.1, 0.3], "rises"), in_order([0.0, 0.3, 0.1], "rises")
    (True, False)
    """
    steps = [after - before for before, after in pairwise(differences)]
    return all(step >= 0 if planted == "rises" else step <= 0 for step in steps)
