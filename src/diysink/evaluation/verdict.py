"""What the comparisons say, in words that the data choose."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

Row = Mapping[Any, Any]
AHEAD, UNDECIDED, BEHIND = 1, 0, -1


def verdict(
    comparisons: pd.DataFrame,
    *,
    candidate: str,
    baseline: str,
    level: float = 0.95,
    trained: bool = True,
) -> list[str]:
    """Sentences: whether the candidate beats the baseline, then where, then what else differs.

    The candidate against the baseline over all items is the one question asked beforehand: its own
    interval and p-value decide it, and both must agree. Every other row is a look around, called a
    difference only after Holm's correction over the whole table.

    Args:
        comparisons: what :func:`diysink.evaluation.comparisons` gave, by ``group``.
        candidate: the variant that the run is about.
        baseline: what it has to beat.
        level: of the table's intervals; 1 - level is the error allowed.
        trained: whether the variants were trained, so that another training seed is a question.

    Raises:
        ValueError: the candidate was not compared with the baseline.
    """
    rows = comparisons.to_dict("records")
    mine = [row for row in rows if (row["variant"], row["baseline"]) == (candidate, baseline)]
    if not mine:
        raise ValueError(
            f"The comparisons do not hold {candidate!r} against {baseline!r}; give that pair to "
            "comparisons()."
        )
    overall = next(row for row in mine if row["group"] == "all")
    groups = [row for row in mine if row["group"] != "all"]
    others = [row for row in rows if row["group"] == "all" and row is not overall]
    sentences = [_headline(overall, level)]
    if groups:
        sentences.append(f"By group: {'; '.join(_brief(row, level) for row in groups)}.")
    sentences += [_headline(row, level, "p_holm") for row in others if row["variant"] == candidate]
    if rest := [row for row in others if row["variant"] != candidate]:
        sentences.append(_look_around(rest, level))
    return [*sentences, _seeds(overall)] if trained else sentences


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


def _headline(row: Row, level: float, p: str = "p_mcnemar") -> str:
    says = {AHEAD: "beats", UNDECIDED: "does not beat", BEHIND: "does worse than"}
    result = outcome(row, level, p)
    corrected = " after Holm's correction" if p == "p_holm" else ""
    text = (
        f"{row['variant']} {says[result]} {row['baseline']}: {points(row)}, McNemar "
        f"p {p_value(row[p])}{corrected}, {row['n_images']} images, {row['n_items']} questions."
    )
    if result != UNDECIDED:
        return text
    if _depends_on_training(row) and (row["low"] > 0 or row["high"] < 0):
        return (
            f"{text} The images would decide it, but the {row['n_seeds']} trainings differ too "
            f"much: over trainings and images the interval is {_training(row)}."
        )
    if (row[p] < 1 - level) != (row["low"] > 0 or row["high"] < 0):
        return f"{text} Interval and test disagree, which is no proof either way."
    return f"{text} Neither is ahead at the {100 * level:g} % level."


def _brief(row: Row, level: float) -> str:
    mark = {AHEAD: "ahead", UNDECIDED: "undecided", BEHIND: "behind"}[outcome(row, level)]
    return f"{row['group']} {points(row)}, {mark}"


def _look_around(rows: list[dict[Any, Any]], level: float) -> str:
    found = {
        word: [row for row in rows if outcome(row, level) == result]
        for word, result in (("above", AHEAD), ("below", BEHIND))
    }
    parts = [
        f"{word} {baseline}: "
        + ", ".join(f"{r['variant']} ({points(r)})" for r in some if r["baseline"] == baseline)
        for word, some in found.items()
        for baseline in dict.fromkeys(r["baseline"] for r in some)
    ]
    number = len(rows)
    if not parts:
        return f"None of the {number} other comparisons shows a difference (Holm's correction)."
    return f"Of {number} other comparisons, after Holm's correction, {'; '.join(parts)}."


def _seeds(row: Row) -> str:
    if row["n_seeds"] == 1:
        return (
            "One training seed: the intervals say what other images would change, not what "
            "another training would."
        )
    return (
        f"{row['n_seeds']} training seeds: the difference of a single seed lies between "
        f"{100 * row['seed_min']:+.1f} and {100 * row['seed_max']:+.1f} points. Intervals beside "
        f"differences are over images; over trainings and images this one is {_training(row)}. "
        "Ahead or behind is said only of what both intervals show."
    )


def _training(row: Row) -> str:
    return f"[{100 * row['training_low']:+.1f}, {100 * row['training_high']:+.1f}]"
