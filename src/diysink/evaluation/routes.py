"""How often a selection routes as it should, and what its wrong routes cost.

Two things can be asked of a route. ``right``: is it the one that the question's group asks for,
which the oracle variant took: sinks for global questions, nonsinks for local ones, both for mixed
ones? ``follows``: is it the one that the variant's own rule gives on the truth? CoT's rule looks at
the image, too: simple and whole are sinks, complex and detail nonsinks, anything else both. So a
CoT that never errs is right by group less often than it follows its rule. Other variants have no
rule of their own: the oracle's is the group's, and the controls are wrong on purpose.

What a wrong route costs is the accuracy of the oracle variant less that of the variant itself, on
the questions whose route was not the group's: the same model and items.
"""

from typing import Any

import numpy as np
import pandas as pd

from diysink.resampling import Bootstrap
from diysink.routing import SCOPE_OF, cot_route


def route_table(
    predictions: pd.DataFrame,
    oracle: str,
    *,
    bootstrap: Bootstrap,
) -> pd.DataFrame:
    """Routes of every variant that routes, over all items and in each group.

    Args:
        predictions: one row per variant, seed and item, with ``image``, ``group``, ``route``,
            ``correct``, ``simple``, ``cot_image`` and ``cot_scope``; items of no known group are
            left out.
        oracle: the variant that took the groups' routes.
        bootstrap: over images; makes the intervals.

    Returns:
        ``variant, group``; shares with ``_low`` and ``_high``: ``follows``, ``right``, and of CoT's
        two answers those that are true, ``image`` (over the images of which it is known) and
        ``scope``; ``wrong``, the number of answers whose route is not the group's; ``cost``,
        ``cost_low, cost_high``, their cost in accuracy; ``n_images``. A number is missing where
        there is nothing to count: no wrong route, no CoT, an image's simplicity that is not known.
        Empty without the oracle or if no variant routes.
    """
    known = predictions[predictions["group"].notna()]
    best = known[known["variant"] == oracle].set_index(["seed", "id"])
    rows: list[dict[str, Any]] = []
    for variant, answers in known.groupby("variant", sort=False):
        asked = bool(answers["cot_scope"].notna().any())
        if best.empty or (answers["route"].nunique() == 1 and not asked):
            continue
        # The same item answered by the same training.
        of = best.loc[list(zip(answers["seed"], answers["id"], strict=True))]
        right = (answers["route"].to_numpy() == of["route"].to_numpy()).astype(float)
        scored = answers.assign(
            right=right,
            lost=of["correct"].to_numpy(float) - answers["correct"].to_numpy(float),
            **(
                _cot(answers)
                if asked
                else {
                    "follows": right if variant == oracle else np.nan,
                    "told": np.nan,
                    "scope": np.nan,
                }
            ),
        )
        for group, part in [("all", scored), *scored.groupby("group", sort=True)]:
            wrong = part[part["right"] == 0]
            rows.append(
                {"variant": variant, "group": group}
                | _mean(part, "follows", "follows", bootstrap)
                | _mean(part, "right", "right", bootstrap)
                | _mean(part, "told", "image", bootstrap)
                | _mean(part, "scope", "scope", bootstrap)
                | {"wrong": len(wrong)}
                | _mean(wrong, "lost", "cost", bootstrap)
                | {"n_images": part["image"].nunique()}
            )
    return pd.DataFrame(rows)


def _cot(answers: pd.DataFrame) -> dict[str, pd.Series]:
    """Whether CoT's rule was followed, and its two answers true; NaN where that is not known."""
    simple = answers["simple"].map({True: "simple", False: "complex"})
    scope = answers["group"].map(SCOPE_OF)
    told = (series.astype(object).where(series.notna(), None) for series in (simple, scope))
    rule = [cot_route(*both) for both in zip(*told, strict=True)]
    known = simple.notna()
    return {
        "follows": (answers["route"] == rule).astype(float).where(known),
        "told": (answers["cot_image"] == simple).astype(float).where(known),
        "scope": (answers["cot_scope"] == scope).astype(float),
    }


def _mean(
    rows: pd.DataFrame, column: str, name: str, bootstrap: Bootstrap
) -> dict[str, float | None]:
    """Mean of a column over items, with its interval over images; None where all is missing."""
    part = rows[rows[column].notna()]
    names = (name, f"{name}_low", f"{name}_high")
    if part.empty:
        return dict.fromkeys(names)
    by_image = part.groupby("image")[column].agg(["sum", "count"])
    sums, counts = by_image["sum"].to_numpy(float)[:, None], by_image["count"].to_numpy()[:, None]
    low, high = bootstrap.share_interval(sums, counts)
    return dict(
        zip(names, (float(part[column].mean()), float(low[0]), float(high[0])), strict=True)
    )
