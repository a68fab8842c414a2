"""Accuracies and differences with their uncertainty.

What was sampled is images, and trainings where models were trained several times. ``low`` and
``high`` are a percentile bootstrap over images, the questions of one image staying together;
answers of several training seeds are averaged per item first, so they say how much another set of
images would change the mean over *these* trainings. ``training_low`` and ``training_high`` are over
other trainings as well as other images (`diysink.resampling.trainings`).

With several trainings, p is over trainings and images. With one, it is over images: exact for
whole numbers such as right and wrong; Student's t over images for others, as the mean of hundreds
of images is close to normal, and random permutations of so many tests would have to be many
millions to pass Holm's correction. It then says nothing about other trainings of two models that
were trained apart (``separate``).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray

from diysink.evaluation.answers import Answers, answers, check_columns
from diysink.resampling import Bootstrap, crossed_mean, holm, sign_flip_test

_Part = tuple[Float[ndarray, "images seeds"], Int[ndarray, " images"]]


def accuracy_table(
    predictions: pd.DataFrame,
    by: str = "group",
    *,
    bootstrap: Bootstrap,
) -> pd.DataFrame:
    """Accuracy of every variant, over all items and in each group.

    Args:
        predictions: one row per variant, seed and item.
        by: the column that groups the items; the result's column has the same name.
        bootstrap: over images; makes the intervals.

    Returns:
        ``variant, <by>, accuracy, low, high, training_low, training_high, seed_min, seed_max,
        n_items, n_images, n_seeds``: shares of 1; the accuracy's interval over images, and over
        trainings and images (never the narrower one; NaN with one seed); the lowest and highest
        accuracy of one training seed.

    Raises:
        ValueError: the variants did not answer the same items.
    """
    table = answers(predictions, by)
    rows: list[dict[str, Any]] = []
    for group, member in table.groups():
        parts = [_by_image(table.images[member], right[member]) for right in table.values.values()]
        low, high = _over_images(parts, bootstrap.share_interval)
        for i, (variant, part) in enumerate(zip(table.values, parts, strict=True)):
            mean = crossed_mean(*part)
            several = len(mean.by_training) > 1
            ends = mean.interval(bootstrap.level)
            rows.append(
                {
                    "variant": variant,
                    by: group,
                    "accuracy": mean.mean,
                    "low": low[i],
                    "high": high[i],
                    "training_low": max(0.0, min(low[i], ends[0])) if several else np.nan,
                    "training_high": min(1.0, max(high[i], ends[1])) if several else np.nan,
                    "seed_min": mean.by_training.min(),
                    "seed_max": mean.by_training.max(),
                    "n_items": int(member.sum()),
                    "n_images": mean.images,
                    "n_seeds": len(mean.by_training),
                }
            )
    order = {variant: place for place, variant in enumerate(table.values)}
    rows.sort(key=lambda row: order[row["variant"]])
    return pd.DataFrame(rows)


def pairs_to_compare(
    variants: Sequence[str], baseline: str, compare: Sequence[Sequence[str]]
) -> list[tuple[str, str]]:
    """Every variant against the baseline, and the further pairs whose variants are there.

    Two variants are one hypothesis, in whichever order they are named: the first one counts, so
    that Holm's correction does not count twice.

    >>> pairs_to_compare(["a", "b", "c"], "a", [["a", "b"], ["c", "b"], ["c", "b"], ["c", "d"]])
    [('b', 'a'), ('c', 'a'), ('c', 'b')]
    """
    pairs = [(variant, baseline) for variant in variants if variant != baseline]
    pairs += [(a, b) for a, b in compare if {a, b} <= set(variants)]
    once: dict[frozenset[str], tuple[str, str]] = {}
    for pair in pairs:
        once.setdefault(frozenset(pair), pair)
    return list(once.values())


def comparisons(
    predictions: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    by: str = "group",
    *,
    bootstrap: Bootstrap,
    value: str = "correct",
) -> pd.DataFrame:
    """Differences of pairs of variants on the same items, paired.

    Args:
        predictions: one row per variant, seed and item; ``model`` says which trained model
            answered, and ``converged``, if it is there, whether its training had converged.
        pairs: (variant, baseline), each with the same training seeds.
        by: the column that groups the items.
        bootstrap: over images; makes the intervals over images, and has the level of all.
        value: the column of numbers that is compared. An item where a number of the pair is not
            known (NaN) is left out of that pair.

    Returns:
        ``variant, baseline, <by>, difference, low, high, training_low, training_high, error, df,
        p, separate, converged, detectable, seed_min, seed_max, n_items, n_images, n_seeds,
        only_variant, only_baseline, p_holm``; no row where a pair has no items.

        - ``difference``: the variant's mean minus the baseline's.
        - ``low, high``: over images, trainings held fixed. ``training_low, training_high``: over
          trainings and images; NaN with one training.
        - ``error, df``: standard error over trainings and images (images alone with one training),
          and Satterthwaite's degrees of freedom.
        - ``p``: two-sided; with one training over images, with several over trainings and images,
          and never smaller than over images alone. ``p_holm`` corrects it for all rows.
        - ``separate``: the two variants are of different models, so they were trained apart.
        - ``converged``: every training of both has; of models that nobody looked at, too.
        - ``detectable``: the smallest true difference that this design finds with 80 % power,
          two-sided at this level, not corrected. NaN where it finds none (one training of
          ``separate`` models) and where no image differs.
        - ``only_variant``: number of pairs of item and seed where the variant's value is the higher
          (it alone is right); ``only_baseline`` likewise.
        - ``seed_min, seed_max``: lowest and highest difference of one training seed.

    Raises:
        ValueError: a pair names an unknown variant, or two of different seeds; a variant is of two
            models.
    """
    table = answers(predictions, by, value)
    models, converged = _models(predictions), _converged(predictions)
    for pair in pairs:
        _check_pair(table, pair)
    whole = all(np.array_equal(v, np.round(v), equal_nan=True) for v in table.values.values())
    rows: list[dict[str, Any]] = []
    for group, member in table.groups():
        gains = {(a, b): (table.values[a] - table.values[b])[member] for a, b in pairs}
        parts = {pair: _by_image(table.images[member], gain) for pair, gain in gains.items()}
        parts = {pair: part for pair, part in parts.items() if part[1].any()}
        if not parts:
            continue
        low, high = _over_images(list(parts.values()), bootstrap.ratio_interval)
        for i, (pair, part) in enumerate(parts.items()):
            separate = models[pair[0]] != models[pair[1]]
            rows.append(
                {"variant": pair[0], "baseline": pair[1], by: group}
                | _difference(
                    *part,
                    (float(low[i]), float(high[i])),
                    bootstrap.level,
                    separate=separate,
                    whole=whole,
                )
                | {
                    "converged": all(converged.get(name, True) for name in pair),
                    "only_variant": int((gains[pair] > 0).sum()),
                    "only_baseline": int((gains[pair] < 0).sum()),
                }
            )
    corrected = holm([float(row["p"]) for row in rows])
    for row, p in zip(rows, corrected.tolist(), strict=True):
        row["p_holm"] = p
    order = {pair: place for place, pair in enumerate(pairs)}
    rows.sort(key=lambda row: order[row["variant"], row["baseline"]])
    return pd.DataFrame(rows)


def _difference(
    sums: Float[ndarray, "images seeds"],
    counts: Int[ndarray, " images"],
    over_images: tuple[float, float],
    level: float,
    *,
    separate: bool,
    whole: bool,
) -> dict[str, Any]:
    """What a row of `comparisons` says of trainings and images."""
    mean = crossed_mean(sums[counts > 0], counts[counts > 0])
    seeds = len(mean.by_training)
    if whole:
        p = sign_flip_test(np.rint(sums.sum(1)).astype(np.int64))
    else:
        p = crossed_mean(sums.mean(1)[counts > 0, None], counts[counts > 0]).p
    if seeds > 1:
        p = max(p, mean.p)
    ends = mean.interval(level) if seeds > 1 else (np.nan, np.nan)
    detects = mean.error > 0 and not (separate and seeds == 1)
    return {
        "difference": mean.mean,
        "low": over_images[0],
        "high": over_images[1],
        "training_low": ends[0],
        "training_high": ends[1],
        "error": mean.error,
        "df": mean.df,
        "p": p,
        "separate": separate,
        "detectable": mean.detectable(level) if detects else np.nan,
        "seed_min": mean.by_training.min(),
        "seed_max": mean.by_training.max(),
        "n_items": int(counts.sum()),
        "n_images": mean.images,
        "n_seeds": seeds,
    }


def _by_image(images: Int[ndarray, " items"], values: Float[ndarray, "items seeds"]) -> _Part:
    """Sums of ``values`` and numbers of items by image; items with NaN are left out."""
    there, image = np.unique(images, return_inverse=True)
    known = ~np.isnan(values).any(1)
    sums = np.zeros((len(there), values.shape[1]))
    np.add.at(sums, image[known], values[known])
    return sums, np.bincount(image[known], minlength=len(there))


def _over_images(
    parts: Sequence[_Part],
    interval: Callable[[ndarray, ndarray], tuple[ndarray, ndarray]],
) -> tuple[ndarray, ndarray]:
    """Intervals of all parts, whose images are drawn together."""
    sums = np.stack([sums.mean(1) for sums, _ in parts], axis=1)
    counts = np.stack([counts for _, counts in parts], axis=1)
    there = counts.any(1)
    return interval(sums[there], counts[there])


def _models(predictions: pd.DataFrame) -> Mapping[str, str]:
    """The trained model of each variant."""
    check_columns(predictions, ("model",))
    models = predictions[["variant", "model"]].drop_duplicates()
    if (twice := models["variant"][models["variant"].duplicated()]).size:
        raise ValueError(
            f"Variant {twice.iloc[0]!r} is of more than one model: give each a name of its own."
        )
    return dict(zip(models["variant"], models["model"], strict=True))


def _converged(predictions: pd.DataFrame) -> Mapping[str, bool]:
    """Whether all trainings of a variant have converged, where it is known."""
    if "converged" not in predictions:
        return {}
    return {
        str(n): bool(all_) for n, all_ in predictions.groupby("variant")["converged"].all().items()
    }


def _check_pair(table: Answers, pair: tuple[str, str]) -> None:
    for name in pair:
        if name not in table.values:
            raise ValueError(
                f"The pair {pair} names {name!r}, which is not among the variants evaluated: "
                f"{', '.join(table.values)}."
            )
    first, second = (table.seeds[name] for name in pair)
    if first != second:
        raise ValueError(
            f"{pair[0]!r} was evaluated with training seeds {first}, {pair[1]!r} with {second}: "
            "seeds are compared pair by pair. Train both with the same seeds."
        )
