"""What comparisons of answers show: an outcome of each, and the verdict in a few lines.

One training never decides between trainings: two models that were trained apart, once each, differ
by the luck of both trainings as well, and nothing in the answers says by how much.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from diysink.resampling import limit_of_none

Row = Mapping[Any, Any]
AHEAD, UNDECIDED, BEHIND = 1, 0, -1
NAMES = {AHEAD: "ahead", UNDECIDED: "undecided", BEHIND: "behind"}


def verdict(
    comparisons: pd.DataFrame,
    *,
    candidate: str,
    baseline: str,
    level: float = 0.95,
    margin: float = 0.02,
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
        margin: the smallest difference that would matter, a share of 1: where an interval holds 0
            and lies within it, there is none.
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
        f"{candidate} against {baseline}: {finding(overall, level, margin, 'p')}. "
        f"{points(overall)}, p {p_value(overall['p'])}, {overall['n_images']} images, "
        f"{overall['n_items']} questions."
    ]
    if groups:
        found = "; ".join(
            f"{row['group']} {points(row)}, {finding(row, level, margin)}" for row in groups
        )
        lines.append(f"By group: {found}.")
    if others:
        lines.append(
            f"Of {len(others)} other comparisons, after Holm's correction: "
            f"{_others(others, level, margin)}."
        )
    return [*lines, _trainings(overall)] if trained else lines


def outcome(row: Row, level: float, p: str = "p_holm") -> int:
    """``AHEAD`` or ``BEHIND`` if the interval and the p-value agree, else ``UNDECIDED``.

    The interval is over trainings and images where there were several trainings. Between two models
    that were trained apart, once each, nothing is decided, nor where one of them has not converged.
    """
    if row[p] >= 1 - level or one_training(row) or lags(row):
        return UNDECIDED
    low, high = ends(row)
    return int(low > 0) - int(high < 0)


def one_training(row: Row) -> bool:
    """Whether two models were compared that were trained apart, once each."""
    return row["n_seeds"] == 1 and bool(row["separate"])


def lags(row: Row) -> bool:
    """Whether two models were compared that were trained apart, and a training did not converge."""
    return bool(row["separate"]) and not row.get("converged", True)


def within(row: Row, level: float, margin: float) -> bool:
    """Whether the interval holds 0 and lies within the margin: a difference that does not matter.

    Never so of models that were trained apart, once each or without having converged.
    """
    if one_training(row) or lags(row):
        return False
    low, high = ends(row)
    return low <= 0 <= high and largest(row, level) <= margin


def largest(row: Row, level: float) -> float:
    """The largest difference, either way, that the interval allows.

    Where no image differs at all, images that do may still be as many as the binomial limit.
    """
    low, high = ends(row)
    return limit_of_none(row["n_images"], level) if low == high == 0 else max(-low, high)


def ends(row: Row) -> tuple[float, float]:
    """The interval of a row: over trainings and images; over images where there was one training.

    >>> row = {"low": 0.1, "high": 0.2, "training_low": 0.0, "training_high": 0.3, "n_seeds": 5}
    >>> ends(row), ends(row | {"n_seeds": 1})
    ((0.0, 0.3), (0.1, 0.2))
    """
    over = "" if row["n_seeds"] == 1 or pd.isna(row["training_low"]) else "training_"
    return row[f"{over}low"], row[f"{over}high"]


def over(rows: Sequence[Row]) -> str:
    """What the intervals of such rows are over (`ends`).

    >>> over([{"n_seeds": 1}]), over([{"n_seeds": 5}])
    ('images', 'trainings and images')
    """
    return "trainings and images" if any(row["n_seeds"] > 1 for row in rows) else "images"


def finding(row: Row, level: float, margin: float, p: str = "p_holm") -> str:
    """In words: ahead, behind, no difference that matters, or why it is undecided.

    >>> row = {"n_seeds": 1, "separate": False, "low": -0.004, "high": 0.012, "p": 0.4}
    >>> finding(row, 0.95, 0.02, "p")
    'no difference larger than 1.2 points'
    """
    if result := outcome(row, level, p):
        return NAMES[result]
    if one_training(row):
        return "undecided: one training"
    if lags(row):
        return "undecided: a training has not converged"
    if within(row, level, margin):
        return f"no difference larger than {100 * largest(row, level):.1f} points"
    if pd.isna(row["detectable"]):
        return NAMES[UNDECIDED]
    return f"undecided: 80 % power from {100 * row['detectable']:.1f} points on"


def points(row: Row) -> str:
    """The difference and its interval in percentage points.

    >>> points({"difference": -0.0001, "low": -0.019, "high": 0.011, "n_seeds": 1})
    '+0.0 points [-1.9, +1.1]'
    """
    # Adding 0 makes a plain zero of -0.0.
    value, low, high = (round(100 * x, 1) + 0.0 for x in (row["difference"], *ends(row)))
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"


def p_value(p: float) -> str:
    """With its sign, as it is read after "p".

    >>> p_value(0.6123), p_value(0.00002), p_value(0.034)
    ('= .61', '< .001', '= .034')
    """
    if p < 0.001:
        return "< .001"
    digits = f"{p:.2f}" if p >= 0.1 else f"{p:.3f}"
    return f"= {digits.removeprefix('0')}"


def _others(rows: list[dict[Any, Any]], level: float, margin: float) -> str:
    """How many came out how; which ones are ahead or behind."""
    rest = [row for row in rows if outcome(row, level) == UNDECIDED]
    once = [row for row in rest if one_training(row)]
    small = [row for row in rest if within(row, level, margin)]
    parts = [_named(rows, result, level) for result in (AHEAD, BEHIND)]
    parts += [f"{len(small)} no difference larger than {100 * margin:g} points"] if small else []
    parts += [f"{len(rest) - len(small)} {NAMES[UNDECIDED]}"]
    parts[-1] += f" ({len(once)} of them: one training)" if once else ""
    return "; ".join(parts)


def _named(rows: list[dict[Any, Any]], result: int, level: float) -> str:
    pairs = [f"{r['variant']} - {r['baseline']}" for r in rows if outcome(r, level) == result]
    which = f" ({', '.join(pairs)})" if pairs else ""
    return f"{len(pairs)} {NAMES[result]}{which}"


def _trainings(row: Row) -> str:
    """What other trainings would change."""
    if one_training(row):
        return (
            "One training: the two models were trained apart, once each, and the intervals are "
            "over images alone. Several training seeds can decide."
        )
    if row["n_seeds"] == 1:
        return "One training: intervals are over images, not over trainings."
    single = [f"{100 * row[end]:+.1f}" for end in ("seed_min", "seed_max")]
    images = [f"{100 * row[end]:+.1f}" for end in ("low", "high")]
    return (
        f"{row['n_seeds']} trainings: differences of one training from {single[0]} to {single[1]} "
        f"points. Intervals are over trainings and images; over images alone "
        f"{images[0]} to {images[1]}."
    )
