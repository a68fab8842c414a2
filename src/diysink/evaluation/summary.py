"""All tables of one evaluation, benchmark by benchmark.

A control is in no table unless a comparison names it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from diysink.evaluation.routes import route_table
from diysink.evaluation.statistics import accuracy_table, comparisons, pairs_to_compare
from diysink.evaluation.verdict import verdict
from diysink.resampling import Bootstrap

LIKELIHOOD = "log_likelihood"
"""Of the right answer, in nats per token; not every model gives it."""


def measured(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows of what was measured, without those of its controls."""
    return predictions[predictions["control"] == "none"]


def primary(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first benchmark, controls included."""
    return predictions[predictions["benchmark"] == predictions["benchmark"].iloc[0]]


def summarize(
    predictions: pd.DataFrame,
    *,
    baseline: str,
    candidate: str,
    oracle: str | None,
    compare: Sequence[Sequence[str]],
    bootstrap: Bootstrap,
    margin: float = 0.02,
    trained: bool = True,
) -> dict[str, Any]:
    """Accuracies, differences, routes and the verdict in words.

    Holm's correction is over all comparisons of one number on one benchmark.

    Args:
        predictions: one row per variant, seed, benchmark and item.
        baseline: what every variant is compared with.
        candidate: what the evaluation is about.
        oracle: the variant that takes the right routes; None: there is none.
        compare: more pairs to compare.
        bootstrap: over images; makes the intervals.
        margin: the smallest difference that would matter, for the verdict.
        trained: whether another training seed is a question.

    Returns:
        ``accuracy``, ``subtasks``, ``comparisons``, ``likelihoods`` and ``routes`` as rows with
        ``benchmark`` and ``metric``, and ``verdict``, a list of sentences. ``likelihoods`` are the
        same comparisons of the log-likelihood of the right answer; none where no model gave it.
    """
    results: dict[str, list[Any]] = {
        name: []
        for name in ("accuracy", "subtasks", "comparisons", "likelihoods", "routes", "verdict")
    }
    several = predictions["benchmark"].nunique() > 1
    compared = {name for pair in compare for name in pair}
    shown = (predictions["control"] == "none") | predictions["variant"].isin(compared)
    for benchmark, rows in predictions[shown].groupby("benchmark", sort=False):
        variants = list(rows["variant"].unique())
        pairs = pairs_to_compare(variants, baseline, compare)
        differences = comparisons(rows, pairs, bootstrap=bootstrap)
        tables = {
            "accuracy": accuracy_table(rows, by="group", bootstrap=bootstrap),
            "subtasks": accuracy_table(rows, by="subtask", bootstrap=bootstrap),
            "comparisons": differences,
            "likelihoods": _likelihoods(rows, pairs, bootstrap),
            "routes": route_table(rows, oracle, bootstrap=bootstrap) if oracle else pd.DataFrame(),
        }
        of = {"benchmark": benchmark, "metric": rows["metric"].iloc[0]}
        for name, table in tables.items():
            results[name] += [of | row for row in _rows(table)]
        sentences = (
            verdict(
                differences,
                candidate=candidate,
                baseline=baseline,
                level=bootstrap.level,
                margin=margin,
                trained=trained,
            )
            if {candidate, baseline} <= set(variants)
            else [f"{candidate} was not compared with {baseline}: one of them has no answers."]
        )
        results["verdict"] += [f"{benchmark}: {one}" if several else one for one in sentences]
    if laggards := not_converged(predictions):
        results["verdict"].append(
            f"Not converged: {', '.join(laggards)}. Their answers are in every table; a comparison "
            "of them with models that were trained apart decides nothing."
        )
    return results


def not_converged(predictions: pd.DataFrame) -> list[str]:
    """The trainings that have not converged, ``<model>/seed<n>``, where it is known."""
    if "converged" not in predictions:
        return []
    late = predictions.loc[~predictions["converged"].astype(bool), ["model", "seed"]]
    return [f"{model}/seed{seed}" for model, seed in late.drop_duplicates().itertuples(index=False)]


def accuracies(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Accuracy rows as nested metrics: variant, then group; benchmark first if there are several.

    >>> row = {"benchmark": "test", "variant": "dual", "group": "all", "accuracy": 0.5}
    >>> accuracies([row])
    {'dual': {'all': 0.5}}
    """
    several = len({row["benchmark"] for row in rows}) > 1
    metrics: dict[str, Any] = {}
    for row in rows:
        home = metrics.setdefault(row["benchmark"], {}) if several else metrics
        home.setdefault(row["variant"], {})[row["group"]] = row["accuracy"]
    return metrics


def _likelihoods(
    predictions: pd.DataFrame, pairs: Sequence[tuple[str, str]], bootstrap: Bootstrap
) -> pd.DataFrame:
    """Comparisons of the log-likelihood of the right answer; empty where no model gave it."""
    if LIKELIHOOD not in predictions or predictions[LIKELIHOOD].isna().all():
        return pd.DataFrame()
    return comparisons(predictions, pairs, bootstrap=bootstrap, value=LIKELIHOOD)


def _rows(table: pd.DataFrame) -> Iterator[dict[Any, Any]]:
    """Rows for JSON, which has no NaN: what could not be measured is null."""
    yield from table.astype(object).where(table.notna(), None).to_dict("records")
