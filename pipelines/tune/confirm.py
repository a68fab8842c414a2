"""The best setting beside the default, on questions that the search saw and on others."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from diysink.resampling import Bootstrap
    from pipelines.tune.settings import Distribution


def paired(
    best: pd.DataFrame, default: pd.DataFrame, bootstrap: "Bootstrap"
) -> dict[str, float | int]:
    """Both accuracies, their difference and its interval over images.

    Answers of several trainings are averaged per question first. Where no answer differs, the
    interval is what no image of so many can exclude (`diysink.resampling.limit_of_none`).

    Args:
        best: judged answers: ``id``, ``image``, ``seed`` and ``correct``.
        default: of the same questions and trainings.
        bootstrap: makes the interval.

    Returns:
        ``best``, ``default`` and ``difference``, with ``low`` and ``high``, from 0 to 1; ``items``
        and ``images``: how many.

    Raises:
        ValueError: the two are not of the same questions and trainings.
    """
    from diysink.resampling import limit_of_none

    keys = ["id", "seed"]
    both = best.merge(default, on=keys, how="outer", suffixes=("", "_default"), validate="1:1")
    if both[["correct", "correct_default"]].isna().any(axis=None):
        raise ValueError("answers of other questions, or of other trainings, are not paired")
    differences = both["correct"] - both["correct_default"]
    per_image = differences.groupby(both["image"]).agg(["sum", "count"]).to_numpy(float)
    low, high = bootstrap.ratio_interval(per_image[:, :1], per_image[:, 1:])
    if not differences.any():  # every resample is alike, which is not to be certain
        high = np.array([limit_of_none(len(per_image), bootstrap.level)])
        low = -high
    return {
        "best": float(both["correct"].mean()),
        "default": float(both["correct_default"].mean()),
        "difference": float(differences.mean()),
        "low": float(low[0]),
        "high": float(high[0]),
        "items": int(both["id"].nunique()),
        "images": int(both["image"].nunique()),
    }


def trial_rows(
    study: str, space: Mapping[str, "Distribution"], trials: list[Any], default: dict[str, Any]
) -> list[dict[str, Any]]:
    """One row a trial and value that it tried.

    Columns: study, trial (Optuna's number), value (accuracy on the questions of the search),
    seconds (from being asked for to its value: with workers it waits in
    between), parameter (its path), setting (what was tried, as text), number (the same; NaN of a
    categorical one), default (what the default has, as text), log (whether it was drawn in its
    logarithm).
    """
    return [
        {
            "study": study,
            "trial": trial.number,
            "value": trial.value,
            "seconds": trial.duration.total_seconds(),
            "parameter": path,
            "setting": str(value),
            "number": float("nan") if space[path].choices else float(value),
            "default": str(default[path]),
            "log": space[path].log,
        }
        for trial in trials
        for path, value in trial.params.items()
    ]
