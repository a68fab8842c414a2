"""Tables of the report, in the form in which they are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from diysink.report.inputs import records

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Grid:
    """Variants down, groups across.

    Attributes:
        columns: names of the groups, with the number of questions in each.
        lines: per variant its name, and its row (or None) in each group.
    """

    columns: list[tuple[str, int]]
    lines: list[tuple[str, list[Mapping[str, Any] | None]]]


def grid(rows: Rows, by: str = "group") -> Grid:
    """Accuracy rows as a grid."""
    counts = {str(row[by]): int(row["n_items"]) for row in rows}
    cells = {(row["variant"], str(row[by])): row for row in rows}
    variants = list(dict.fromkeys(str(row["variant"]) for row in rows))
    return Grid(
        list(counts.items()),
        [(variant, [cells.get((variant, group)) for group in counts]) for variant in variants],
    )


def too_long(curves: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Trainings with dialogues beyond their limit of tokens: how many, of how many."""
    counts = ["dialogues", "truncated", "left_out"]
    known = {stage: table for stage, table in curves.items() if set(counts) <= set(table)}
    if not known:
        return []
    trainings = [
        table.drop_duplicates("unit")[["unit", *counts]].assign(stage=stage)
        for stage, table in known.items()
    ]
    found = pd.concat(trainings)
    return records(found[(found["truncated"] > 0) | (found["left_out"] > 0)])


def choices(predictions: pd.DataFrame | None) -> list[dict[str, Any]]:
    """What each selection that chooses chose, by group: routes, weights, tokens seen.

    Variants that treat all questions alike are left out.
    """
    if predictions is None or predictions.empty:
        return []
    rows = []
    for variant, answers in predictions.groupby("variant", sort=False):
        weights = answers[["weight_sink", "weight_nonsink"]]
        if answers["route"].nunique() == 1 and (weights.max() - weights.min()).max() < 1e-6:
            continue
        parts = [("all", answers), *answers.groupby("group")]
        for group, part in parts:
            rows.append(
                {
                    "variant": variant,
                    "group": group,
                    "routes": part["route"].value_counts(normalize=True).to_dict(),
                    "weight_sink": part["weight_sink"].mean(),
                    "weight_nonsink": part["weight_nonsink"].mean(),
                    "sd": part["weight_sink"].std(ddof=0),
                    "visual_tokens": part["visual_tokens"].mean(),
                    "n_items": len(part),
                }
            )
    return rows


def differing(
    predictions: pd.DataFrame | None, candidate: str, baseline: str, number: int
) -> list[dict[str, Any]]:
    """Questions that only one of the two answers right, as many of each kind as there are.

    The first training seed's answers, in the order of the items' names: nothing is picked.
    """
    if predictions is None or predictions.empty:
        return []
    seeds = predictions.loc[predictions["variant"].isin([candidate, baseline]), "seed"]
    first = predictions[predictions["seed"] == seeds.min()]
    wanted = ["id", "group", "question", "reference", "prediction", "correct"]
    sides = [
        first.loc[first["variant"] == variant, wanted].set_index("id")
        for variant in (candidate, baseline)
    ]
    other = sides[1][["prediction", "correct"]].add_suffix("_baseline")
    both = sides[0].join(other, how="inner")
    both = both[both["correct"] != both["correct_baseline"]].sort_index()
    better = both["correct"] > both["correct_baseline"]
    won, lost = both[better], both[~better]
    half = number // 2
    shown = pd.concat(
        [won.head(max(half, number - len(lost))), lost.head(max(half, number - len(won)))]
    )
    return records(shown.reset_index())


def stages(timings: Mapping[str, Any], runs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a stage: what it cost, and which run made it; in the order they finished."""
    names = sorted({*timings, *runs}, key=lambda name: (_finished(timings, name), name))
    return [
        {
            "stage": name,
            "seconds": timings.get(name, {}).get("seconds"),
            "peak_bytes": timings.get(name, {}).get("peak_bytes"),
            "run_id": runs.get(name, {}).get("run_id"),
            "code": runs.get(name, {}).get("code") or {},
            "dvc_experiment": runs.get(name, {}).get("dvc_experiment"),
        }
        for name in names
    ]


def _finished(timings: Mapping[str, Any], name: str) -> str:
    return str(timings.get(name, {}).get("finished", "~"))
