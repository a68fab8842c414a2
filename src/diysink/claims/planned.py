"""The comparisons of answers that the claims need, and their correction.

The table of results corrects over every pair and group that it shows. The claims need far fewer,
all of which are among their parts, so Holm's correction is over these and no others: a p here may
be smaller than that of the same pair there, never because of what was found.
"""

from collections.abc import Iterable

import pandas as pd

from diysink.claims.entry import AHEAD, Claim
from diysink.evaluation import comparisons
from diysink.resampling import Bootstrap, holm


def plan(claims: Iterable[Claim]) -> list[tuple[str, str, str]]:
    """Variant, what it is compared with, and the group of questions; each once."""
    parts = [part for claim in claims for part in claim.all_parts if part.rule == AHEAD]
    keys = ("variant", "baseline", "group")
    return list(dict.fromkeys((*(part.where[key] for key in keys),) for part in parts))


def planned_comparisons(
    predictions: pd.DataFrame, claims: Iterable[Claim], bootstrap: Bootstrap
) -> pd.DataFrame:
    """The planned comparisons that the run has answers for.

    Args:
        predictions: one row per variant, seed and item.
        claims: whose parts are the plan.
        bootstrap: of the intervals.

    Returns:
        What :func:`diysink.evaluation.comparisons` returns, one row a planned comparison, with
        ``p_holm`` over these rows. Empty where nothing of the plan was answered.
    """
    variants = set(predictions["variant"]) if len(predictions) else set()
    planned = [row for row in plan(claims) if {row[0], row[1]} <= variants]
    if not planned:
        return pd.DataFrame()
    pairs = list(dict.fromkeys((variant, baseline) for variant, baseline, _ in planned))
    table = comparisons(
        predictions, pairs, bootstrap=bootstrap
    ).set_index(["variant", "baseline", "group"])  # fmt: skip
    answered = table.loc[[row for row in planned if row in table.index]].reset_index()
    return answered.assign(p_holm=holm(answered["p"].tolist()))
