"""How often a selection routes as the known groups ask for, and what its wrong routes cost.

The right route is the one that the oracle variant took: sinks for global questions, nonsinks for
local ones, both for mixed ones. What a wrong route costs is the accuracy of the oracle variant less
that of the variant itself, on the questions that it routed wrongly: the same model and items.
"""

from typing import Any

import pandas as pd

from diysink.resampling import Bootstrap


def route_table(
    predictions: pd.DataFrame,
    oracle: str,
    *,
    bootstrap: Bootstrap,
) -> pd.DataFrame:
    """Route accuracy of every variant that routes, over all items and in each group.

    Args:
        predictions: one row per variant, seed and item, with ``image``, ``group``, ``route`` and
            ``correct``; items of no known group are left out.
        oracle: the variant that took the right routes.
        bootstrap: over images; makes the intervals.

    Returns:
        ``variant, group, right, low, high, wrong, cost, cost_low, cost_high, n_images``: the share
        of right routes; the number of wrongly routed answers; and their cost in accuracy (none
        where nothing was routed wrongly). Empty without the oracle or if no variant routes.
    """
    known = predictions[predictions["group"].notna()]
    best = known[known["variant"] == oracle].set_index(["seed", "id"])
    rows: list[dict[str, Any]] = []
    for variant, answers in known.groupby("variant", sort=False):
        if best.empty or answers["route"].nunique() == 1:
            continue
        # The same item answered by the same training.
        of = best.loc[list(zip(answers["seed"], answers["id"], strict=True))]
        right = (answers["route"].to_numpy() == of["route"].to_numpy()).astype(float)
        lost = of["correct"].to_numpy(float) - answers["correct"].to_numpy(float)
        scored = answers.assign(right=right, lost=lost)
        for group, part in [("all", scored), *scored.groupby("group", sort=True)]:
            wrong = part[part["right"] == 0]
            share, low, high = _mean(part, "right", bootstrap)
            cost = _mean(wrong, "lost", bootstrap) if len(wrong) else (None, None, None)
            rows.append(
                {
                    "variant": variant,
                    "group": group,
                    "right": share,
                    "low": low,
                    "high": high,
                    "wrong": len(wrong),
                    "cost": cost[0],
                    "cost_low": cost[1],
                    "cost_high": cost[2],
                    "n_images": part["image"].nunique(),
                }
            )
    return pd.DataFrame(rows)


def _mean(part: pd.DataFrame, column: str, bootstrap: Bootstrap) -> tuple[float, float, float]:
    """Mean of a column over items, with its interval over images."""
    by_image = part.groupby("image")[column].agg(["sum", "count"])
    sums, counts = by_image["sum"].to_numpy(float)[:, None], by_image["count"].to_numpy()[:, None]
    low, high = bootstrap.share_interval(sums, counts)
    return float(part[column].mean()), float(low[0]), float(high[0])
