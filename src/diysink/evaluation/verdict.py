"""What comparisons of answers show: an outcome of each, and the verdict in a few lines."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

Row = Mapping[Any, Any]
AHEAD, UNDECIDED, BEHIND = 1, 0, -1
NAMES = {AHEAD: "ahead", UNDECIDED: "undecided", BEHIND: "behind"}


def verdict(
    comparisons: pd.DataFrame,
    *,
    candidate: str,
    baseline: str,
    level: float = 0.95,
    trained: bool = True,
) -> list[str]:
    """Lines: the candidate against the baseline, by group, all other comparisons, trainings.

    The candidate against the baseline over all items is the one question that was fixed beforehand:
    its own interval and p-value decide it, and both must agree. Every other comparison counts after
    Holm's correction over the whole table only.

    Args:
        comparisons: what :func:`diysink.evaluation.comparisons` gave, by ``group``.
        candidate: the variant that the run is about.
        baseline: what it is compared with.
        level: of the table's intervals; 1 - level is the error allowed.
        trained: whether the variants were trained, so that another training seed is a question.

    Raises:
        ValueError: the candidate was not compared with the baseline.
    """
    rows = comparisons.to_dict("records")
    own = [row for row in rows if (row["variant"], row["baseline"]) == (candidate, baseline)]
    if not own:
        raise ValueError(
            f"The comparisons do not hold {candidate!r} against {baseline!r}; give that pair to "
            "comparisons()."
        )
    overall = next(row for row in own if row["group"] == "all")
    groups = [row for row in own if row["group"] != "all"]
    others = [row for row in rows if row["group"] == "all" and row is not overall]
    lines = [
        f"{candidate} against {baseline}: {NAMES[outcome(overall, level, 'p_mcnemar')]}. "
        f"{points(overall)}, p {p_value(overall['p_mcnemar'])}, {overall['n_images']} images, "
        f"{overall['n_items']} questions."
    ]
    if groups:
        found = "; ".join(
            f"{row['group']} {points(row)}, {NAMES[outcome(row, level)]}" for row in groups
        )
        lines.append(f"By group: {found}.")
    if others:
        found = "; ".join(_named(others, result, level) for result in (AHEAD, BEHIND))
        lines.append(f"Of {len(others)} other comparisons, after Holm's correction: {found}.")
    return [*lines, _trainings(overall)] if trained else lines


def outcome(row: Row, level: float, p: str = "p_holm") -> int:
    """``AHEAD`` or ``BEHIND`` if the interval and the p-value agree, else ``UNDECIDED``.

    With several training seeds, the interval over trainings must agree as well.
    """
    if row[p] >= 1 - level or _depends_on_training(row):
        return UNDECIDED
    return int(row["low"] > 0) - int(row["high"] < 0)


def _depends_on_training(row: Row) -> bool:
    """Whether other trainings could come out the other way; unknown of one training, so no."""
    return row["n_seeds"] > 1 and bool(row["training_low"] <= 0 <= row["training_high"])


def points(row: Row) -> str:
    """The difference and its interval in percentage points.

    >>> points({"difference": -0.004, "low": -0.019, "high": 0.011})
    '-0.4 points [-1.9, +1.1]'
    """
    return (
        f"{100 * row['difference']:+.1f} points [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
    )


def p_value(p: float) -> str:
    """With its sign, as it is read after "p".

    >>> p_value(0.6123), p_value(0.00002), p_value(0.034)
    ('= .61', '< .001', '= .034')
    """
    if p < 0.001:
        return "< .001"
    digits = f"{p:.2f}" if p >= 0.1 else f"{p:.3f}"
    return f"= {digits.removeprefix('0')}"


def _named(rows: list[dict[Any, Any]], result: int, level: float) -> str:
    pairs = [f"{r['variant']} - {r['baseline']}" for r in rows if outcome(r, level) == result]
    which = f" ({', '.join(pairs)})" if pairs else ""
    return f"{len(pairs)} {NAMES[result]}{which}"


def _trainings(row: Row) -> str:
    """What other trainings would change."""
    if row["n_seeds"] == 1:
        return "One training: intervals are over images, not over trainings."
    ends = [f"{100 * row[end]:+.1f}" for end in ("seed_min", "seed_max")]
    wide = [f"{100 * row[end]:+.1f}" for end in ("training_low", "training_high")]
    return (
        f"{row['n_seeds']} trainings: differences of single ones from {ends[0]} to {ends[1]} "
        f"points; interval over trainings and images [{wide[0]}, {wide[1]}]."
    )
