"""Token ablation: the same model answers with both sets of visual tokens, with one, with the other.

The model is one and the same, so a difference is due to what it sees. Where the model was trained
on both sets, seeing one alone is also unusual to it: the loss is an upper bound of what the missing
set alone carries; what both carry is not lost. Sinks for global and nonsinks for local questions
is a double dissociation; :func:`dissociation` tells it, and as one number. Few tokens answer worse
than many: the control is the same model on as many random nonsinks
(`diysink.evaluation.random_matched`).
"""

import numpy as np
import pandas as pd

from diysink.resampling import interval, never_certain, resampled_ratios

TOKENS = ("both", "sink", "nonsink")
MATCHED = ("matched", "unmatched")  # as many random nonsinks as sinks; all tokens but those


def token_ablation(
    predictions: pd.DataFrame,
    variants: tuple[str, str, str],
    by: str = "group",
    *,
    matched: tuple[str, str] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Accuracy of one model by what it sees, over all items and in each group.

    Args:
        predictions: one row per variant, seed and item.
        variants: names of the variants that see both sets, sinks only and nonsinks only.
        by: the column that groups the items; the result's column has the same name.
        matched: names of the variants that see random-matched tokens alone, and all but those.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the bootstrap.

    Returns:
        ``tokens`` (both, sink, nonsink, and with ``matched`` also matched, unmatched), ``<by>``
        (``all`` first), ``accuracy, low, high, change, change_low, change_high, over_matched,
        over_matched_low, over_matched_high, n_items, n_images``: shares of 1, averaged over
        training seeds; ``change`` is the accuracy minus that of both, ``over_matched`` that of
        sinks minus matched and of nonsinks minus unmatched (NaN elsewhere), paired over images.

    Raises:
        ValueError: a variant is missing or did not answer the same items.
    """
    tokens_seen = TOKENS if matched is None else TOKENS + MATCHED
    right = _right(predictions, variants if matched is None else variants + matched, by)
    rows = []
    for group in ("all", *sorted(set(right[by].dropna()))):
        members = right if group == "all" else right[right[by] == group]
        images = members.groupby("image")[list(tokens_seen)]
        sums, counts = images.sum().to_numpy(), images.count().to_numpy()
        drawn = resampled_ratios(sums, counts, resamples=resamples, seed=seed)
        low, high = never_certain(*interval(drawn, level), images=len(sums), level=level)
        change_low, change_high = interval(drawn - drawn[:, :1], level)
        accuracy = sums.sum(0) / counts.sum(0)
        over = np.full((3, len(tokens_seen)), np.nan)
        if matched is not None:
            over[0, 1:3] = accuracy[1:3] - accuracy[3:]
            over[1:, 1:3] = interval(drawn[:, 1:3] - drawn[:, 3:], level)
        for i, tokens in enumerate(tokens_seen):
            rows.append(
                {
                    "tokens": tokens,
                    by: group,
                    "accuracy": accuracy[i],
                    "low": low[i],
                    "high": high[i],
                    "change": accuracy[i] - accuracy[0],
                    "change_low": change_low[i],
                    "change_high": change_high[i],
                    "over_matched": over[0, i],
                    "over_matched_low": over[1, i],
                    "over_matched_high": over[2, i],
                    "n_items": len(members),
                    "n_images": len(sums),
                }
            )
    return pd.DataFrame(rows)


def dissociation(
    predictions: pd.DataFrame,
    variants: tuple[str, str, str],
    groups: tuple[str, str] = ("global", "local"),
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """How far sinks alone are ahead of nonsinks alone in each of two groups, and the difference.

    The last row is the interaction, (sink - nonsink on the first group) - (sink - nonsink on the
    second): above 0 as the paper says, 0 where sinks are as far ahead on both groups.

    Args:
        predictions: one row per variant, seed and item, with a column ``group``.
        variants: names of the variants that see both sets, sinks only and nonsinks only.
        groups: the two groups that are held against each other.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the bootstrap.

    Returns:
        ``contrast`` (the group's name, last ``first - second``), ``value, low, high, n_images``.

    Raises:
        ValueError: a variant or a group is missing.
    """
    right = _right(predictions, variants, "group")
    images = pd.Index(sorted(set(right["image"])))
    sums, counts = [], []
    for group in groups:
        members = right[right["group"] == group]
        if members.empty:
            raise ValueError(
                f"No item is of group {group!r}; there are "
                f"{', '.join(sorted(set(right['group'].dropna())))}."
            )
        found = members.groupby("image")[["sink", "nonsink"]]
        sums.append(found.sum().reindex(images, fill_value=0).to_numpy(dtype=np.float64))
        counts.append(found.count().reindex(images, fill_value=0).to_numpy())
    total, number = np.hstack(sums), np.hstack(counts)
    there = number.any(1)
    total, number = total[there], number[there]
    drawn = resampled_ratios(total, number, resamples=resamples, seed=seed)
    # Columns: sinks and nonsinks on the first group, then on the second.
    contrasts = np.array([[1, 0, 1], [-1, 0, -1], [0, 1, -1], [0, -1, 1]])
    values = (total.sum(0) / number.sum(0)) @ contrasts
    low, high = interval(drawn @ contrasts, level)
    names = [*groups, f"{groups[0]} - {groups[1]}"]
    return pd.DataFrame(
        {"contrast": names, "value": values, "low": low, "high": high, "n_images": len(total)}
    )


def _right(predictions: pd.DataFrame, variants: tuple[str, ...], by: str) -> pd.DataFrame:
    """One row per item: image, group, and the share of seeds that were right, by tokens seen."""
    names = dict(zip(variants, TOKENS + MATCHED, strict=False))
    chosen = predictions[predictions["variant"].isin(variants)]
    if missing := [name for name in variants if name not in set(chosen["variant"])]:
        raise ValueError(
            f"The predictions hold no variant {', '.join(missing)}; there are "
            f"{', '.join(dict.fromkeys(predictions['variant']))}. Evaluate it, or name another."
        )
    right = chosen.pivot_table(
        index="id", columns="variant", values="correct", aggfunc="mean", observed=True
    ).rename(columns=names)
    if lacking := int(right.isna().any(axis=1).sum()):
        raise ValueError(
            f"{', '.join(variants)} did not answer the same items: {lacking} of {len(right)} lack "
            "an answer of one of them. Evaluate them on one split."
        )
    items = chosen.drop_duplicates("id").set_index("id")[["image", by]]
    return right.join(items).reset_index()
