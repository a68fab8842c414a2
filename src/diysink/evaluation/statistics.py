"""Accuracies and differences with their uncertainty.

What was sampled is images: intervals are a percentile bootstrap over images, the questions of one
image staying together, and the p-values are exact and per image (`diysink.resampling`). Answers of
several training seeds are averaged per item first, so an interval says how much another set of
images would change the mean over *these* seeds; how much the seeds differ stands beside it
(``seed_min``, ``seed_max``). Differences have a second interval that covers both, other images and
other trainings (``training_low``, ``training_high``): trainings are few, so it is Student's t.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from diysink.evaluation.correctness import Correctness, correctness
from diysink.resampling import Bootstrap, holm, over_trainings, sign_flip_test


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
        ``variant, <by>, accuracy, low, high, seed_min, seed_max, n_items, n_images, n_seeds``:
        shares of 1; the accuracy's interval; the lowest and highest accuracy of one training seed.

    Raises:
        ValueError: the variants did not answer the same items.
    """
    answers = correctness(predictions, by)
    rows: list[dict[str, Any]] = []
    for group, member in answers.groups():
        means = np.stack([right.mean(1)[member] for right in answers.correct.values()], axis=1)
        sums, counts = _by_image(answers, member, means)
        low, high = bootstrap.share_interval(sums, counts)
        for i, (variant, right) in enumerate(answers.correct.items()):
            by_seed = right[member].mean(0)
            rows.append(
                {
                    "variant": variant,
                    by: group,
                    "accuracy": float(means[:, i].mean()),
                    "low": low[i],
                    "high": high[i],
                    "seed_min": by_seed.min(),
                    "seed_max": by_seed.max(),
                    "n_items": int(member.sum()),
                    "n_images": len(counts),
                    "n_seeds": right.shape[1],
                }
            )
    order = {variant: place for place, variant in enumerate(answers.correct)}
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
) -> pd.DataFrame:
    """Differences in accuracy of pairs of variants on the same items, paired.

    Args:
        predictions: one row per variant, seed and item.
        pairs: (variant, baseline), each with the same training seeds.
        by: the column that groups the items.
        bootstrap: over images; makes the intervals.

    Returns:
        ``variant, baseline, <by>, difference, low, high, training_low, training_high, p_mcnemar,
        only_variant, only_baseline, seed_min, seed_max, n_items, n_images, n_seeds, p_holm``.
        ``difference`` is the variant's accuracy minus the baseline's; ``training_low`` and
        ``training_high`` (NaN with one seed) bound it over other images and other trainings.
        ``only_variant`` counts the pairs of item and seed that the variant alone answered right, so
        that difference = (only_variant - only_baseline) / (n_items x n_seeds). ``p_mcnemar`` is
        exact and takes the image as the unit: McNemar's test where an image has one question and
        there is one seed, else its clustered form. ``p_holm`` corrects it for all rows.

    Raises:
        ValueError: a pair names an unknown variant, or two of different seeds.
    """
    answers = correctness(predictions, by)
    for pair in pairs:
        _check_pair(answers, pair)
    rows: list[dict[str, Any]] = []
    for group, member in answers.groups():
        gains = [_gain(answers, pair)[member] for pair in pairs]
        if not gains:
            break
        totals = np.stack([gain.sum(1) for gain in gains], axis=1)
        sums, counts = _by_image(answers, member, totals.astype(np.float64))
        seeds = np.array([gain.shape[1] for gain in gains])
        low, high = bootstrap.ratio_interval(sums, counts * seeds)
        for i, ((variant, baseline), gain) in enumerate(zip(pairs, gains, strict=True)):
            by_seed = gain.mean(0)
            trained = over_trainings(by_seed, (float(low[i]), float(high[i])), bootstrap.level)
            rows.append(
                {
                    "variant": variant,
                    "baseline": baseline,
                    by: group,
                    "difference": float(gain.mean()),
                    "low": low[i],
                    "high": high[i],
                    "training_low": trained[0],
                    "training_high": trained[1],
                    "p_mcnemar": sign_flip_test(sums[:, i].astype(np.int64)),
                    "only_variant": int((gain > 0).sum()),
                    "only_baseline": int((gain < 0).sum()),
                    "seed_min": by_seed.min(),
                    "seed_max": by_seed.max(),
                    "n_items": len(gain),
                    "n_images": len(counts),
                    "n_seeds": gain.shape[1],
                }
            )
    corrected = holm([float(row["p_mcnemar"]) for row in rows])
    for row, p in zip(rows, corrected.tolist(), strict=True):
        row["p_holm"] = p
    order = {pair: place for place, pair in enumerate(pairs)}
    rows.sort(key=lambda row: order[row["variant"], row["baseline"]])
    return pd.DataFrame(rows)


def _by_image(
    answers: Correctness, member: Bool[ndarray, " items"], values: Float[ndarray, "members columns"]
) -> tuple[Float[ndarray, "images columns"], Float[ndarray, "images 1"]]:
    """Sums of ``values`` and numbers of items per image, for the images that have any."""
    images = answers.images[member]
    counts = np.bincount(images)
    sums = np.stack([np.bincount(images, column) for column in values.T], axis=1)
    there = counts > 0
    return sums[there], counts[there, None].astype(np.float64)


def _gain(answers: Correctness, pair: tuple[str, str]) -> Int[ndarray, "items seeds"]:
    """+1 where only the variant is right, -1 where only the baseline is."""
    variant, baseline = (answers.correct[name].astype(np.int64) for name in pair)
    return variant - baseline


def _check_pair(answers: Correctness, pair: tuple[str, str]) -> None:
    for name in pair:
        if name not in answers.correct:
            raise ValueError(
                f"The pair {pair} names {name!r}, which is not among the variants evaluated: "
                f"{', '.join(answers.correct)}."
            )
    first, second = (answers.seeds[name] for name in pair)
    if first != second:
        raise ValueError(
            f"{pair[0]!r} was evaluated with training seeds {first}, {pair[1]!r} with {second}: "
            "seeds are compared pair by pair. Train both with the same seeds."
        )
