"""The table of a paper: a column is a number of a benchmark, or the mean of several numbers.

Beside each of our values stands the one that a paper gives, if it gives one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diysink.evaluation.scores import Score, mean_of
from diysink.resampling import Bootstrap


def number_rows(
    scores: Sequence[Score], baseline: str, bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    """Every score with its interval, and the difference to the baseline's, as rows for JSON.

    Args:
        scores: of all benchmarks and variants.
        baseline: the variant that the others are compared with.
        bootstrap: its level makes the intervals.
    """
    at = {(score.benchmark, score.number): score for score in scores if score.variant == baseline}
    return [
        {
            "benchmark": score.benchmark,
            "variant": score.variant,
            "number": score.number,
            "percent": score.percent,
            "images": score.images,
            **_described(score, at.get((score.benchmark, score.number)), baseline, bootstrap),
        }
        for score in scores
    ]


def column_rows(
    scores: Sequence[Score],
    columns: Mapping[str, Iterable[str]],
    variants: Iterable[str],
    *,
    baseline: str,
    bootstrap: Bootstrap,
    paper: Mapping[str, Mapping[str, float]],
) -> list[dict[str, Any]]:
    """A row for each column and variant; without a value where a number is missing.

    Args:
        scores: of all benchmarks and variants.
        columns: by name, the numbers whose mean it is, as ``benchmark/number``.
        variants: in the order of the table.
        baseline: the variant that the others are compared with.
        bootstrap: its level makes the intervals.
        paper: by variant and column, what the paper gives.

    Returns:
        ``column, variant, percent, value, low, high, difference, difference_low, difference_high,
        paper, missing`` (the numbers that are not there). Shares are between 0 and 1; the paper's
        figures are as published, in percent.
    """
    known = {(s.variant, f"{s.benchmark}/{s.number}"): s for s in scores}
    rows = []
    for column, numbers in columns.items():
        wanted = list(numbers)
        for variant in variants:
            score = _column(known, variant, column, wanted)
            missing = [number for number in wanted if (variant, number) not in known]
            row: dict[str, Any] = {"column": column, "variant": variant, "missing": missing}
            given = paper.get(variant, {}).get(column)
            if score is not None:
                other = _column(known, baseline, column, wanted)
                row |= {"percent": score.percent}
                row |= _described(score, other, baseline, bootstrap)
            rows.append(row | {"paper": given})
    return rows


def _column(
    known: Mapping[tuple[str, str], Score], variant: str, column: str, numbers: Sequence[str]
) -> Score | None:
    found = [known[variant, number] for number in numbers if (variant, number) in known]
    return mean_of(found, "columns", column) if len(found) == len(numbers) else None


def _described(
    score: Score, other: Score | None, baseline: str, bootstrap: Bootstrap
) -> dict[str, Any]:
    """Value, difference and both intervals; None where there is nothing to count."""
    found = {"value": score.value}
    found["low"], found["high"] = score.interval(bootstrap)
    if other is not None and score.variant != baseline:
        difference = score.less(other)
        found["difference"] = difference.value
        found["difference_low"], found["difference_high"] = difference.interval(bootstrap)
    return {name: None if value != value else value for name, value in found.items()}
