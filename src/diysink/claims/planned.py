"""The comparisons of answers that the claims need, listed from the paper's words, and corrected.

The table of results corrects over every pair and group that it shows. The claims ask far fewer
questions, all of which are listed here, so Holm's correction is over these and no others: a p here
may be smaller than that of the same pair there, never because of what was found.
"""

from typing import Any

import pandas as pd

from diysink.claims.evidence import Roles
from diysink.evaluation import comparisons
from diysink.resampling import holm


def plan(roles: Roles) -> list[tuple[str, str, str]]:
    """Variant, what it is compared with, and the group of questions."""
    selections = (roles.cot, roles.reweight)
    return [
        (roles.sinks, roles.nonsinks, roles.whole),
        (roles.nonsinks, roles.sinks, roles.detail),
        (roles.sinks, roles.dual, roles.whole),
        (roles.nonsinks, roles.dual, roles.detail),
        (roles.front, roles.stock, "all"),
        (roles.front, roles.end, "all"),
        (roles.dual, roles.parameter_matched, "all"),
        *((s, fixed, "all") for s in selections for fixed in (roles.dual, roles.sinks)),
        *((s, roles.nonsinks, "all") for s in selections),
        *((s, roles.random, "all") for s in selections),
    ]


def planned_comparisons(
    predictions: pd.DataFrame,
    roles: Roles,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """The planned pairs that the run has answers for.

    Args:
        predictions: one row per variant, seed and item.
        roles: which variants the plan is about.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the bootstrap.

    Returns:
        What :func:`diysink.evaluation.comparisons` returns, one row a planned comparison, with
        ``p_holm`` over these rows. Empty where nothing of the plan was answered.
    """
    there = set(predictions["variant"]) if len(predictions) else set()
    wanted = [row for row in plan(roles) if {row[0], row[1]} <= there]
    if not wanted:
        return pd.DataFrame()
    options: dict[str, Any] = {"resamples": resamples, "level": level, "seed": seed}
    pairs = list(dict.fromkeys((variant, baseline) for variant, baseline, _ in wanted))
    found = comparisons(predictions, pairs, **options)
    named = found.set_index(["variant", "baseline", "group"])
    kept = named.loc[[row for row in wanted if row in named.index]].reset_index()
    return kept.assign(p_holm=holm(kept["p_mcnemar"].tolist()))
