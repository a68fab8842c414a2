"""What the answers tell: without some tokens, with others' contents, and about the questions."""

import logging
from typing import Any

import pandas as pd

from pipelines.analyze.study import intervals

_log = logging.getLogger(__name__)


def ablate_tokens(
    predictions: pd.DataFrame,
    analyze: dict[str, Any],
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sinks only, nonsinks only, both: by group and subtask; and the double dissociation.

    With answers from random-matched tokens as the control, where the run has them.

    Both tables are empty where ``analyze.ablation`` is null; the second also where the items are
    not of its groups.
    """
    from diysink.analysis import dissociation, token_ablation
    from diysink.evaluation import primary

    asked = analyze["ablation"]
    if asked is None:
        return pd.DataFrame(), pd.DataFrame()
    variants = (asked["both"], asked["sink"], asked["nonsink"])
    options = intervals(analyze, seed)
    predictions = primary(predictions)
    controls = (f"{asked['sink']}-random-matched", f"{asked['nonsink']}-random-matched")
    known = asked["matched"] and set(controls) <= set(predictions["variant"])
    matched = controls if known else None
    tables = [
        token_ablation(predictions, variants, by, matched=matched, **options)
        .rename(columns={by: "group"})
        .assign(by=by)
        for by in ("group", "subtask")
    ]
    groups = tuple(asked["groups"])
    if missing := set(groups) - set(predictions["group"]):
        _log.warning("No double dissociation: no item is of group %s", ", ".join(sorted(missing)))
        return pd.concat(tables, ignore_index=True), pd.DataFrame()
    return pd.concat(tables, ignore_index=True), dissociation(
        predictions, variants, groups, **options
    )
