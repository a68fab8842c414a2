"""Which verdicts depend on tau, or on the layer.

Parts of a claim are judged again with sinks at multiples of the model's own tau, from tables that
were made at each, and layer by layer. What would need the training again (accuracies of models
that treat sinks apart) is not here.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from diysink.analysis.table import ALL
from diysink.claims.entry import Claim, Robustness
from diysink.claims.estimate import NAN, Estimate
from diysink.claims.judge import judge_claim
from diysink.claims.results import Result, Verdict, conclude
from diysink.claims.tables import LARGEST, MEAN, Tables

COLUMNS = [
    "parameter", "setting", "claim", "value", "low", "high", "n_images", "verdict", "chosen",
    "flips",
]  # fmt: skip
_CONTRARY = {Verdict.SHOWN: Verdict.REFUTED, Verdict.REFUTED: Verdict.SHOWN}


def robustness(claims: Mapping[int, Claim], tables: Tables) -> pd.DataFrame:
    """Every entry of robustness of every claim, as far as there are tables.

    Returns:
        ``parameter`` (the index), ``setting`` (multiple of tau; layer, -1 = the mean), ``claim``
        (name of the entry), ``value, low, high, n_images`` (of its first part), ``verdict``,
        ``chosen`` (this is the claim's own setting), ``flips`` (shown, where the claim's own is
        refuted, or the other way round; what is undecided or not measured flips nothing).
    """
    rows: list[dict[str, Any]] = []
    for index, judge_at in (("tau", _over_tau), ("layer", _over_layers)):
        for claim in claims.values():
            for one in claim.robustness:
                if one.index == index:
                    rows += judge_at(one, _judged(one, claim), tables)
    return pd.DataFrame(rows, columns=COLUMNS)


def _judged(one: Robustness, claim: Claim) -> Claim:
    """The claim, or with the entry's own parts in place of all of its parts."""
    return replace(claim, parts=one.parts, needs=()) if one.parts else claim


def _over_tau(one: Robustness, claim: Claim, tables: Tables) -> list[dict[str, Any]]:
    name = claim.parts[0].table
    results = {
        tau: judge_claim(claim, tables.at(name, tau), {**one.where, "tau": tau})
        for tau in tables.multiples(name)
    }
    if 1.0 not in results:
        return []
    return _rows(one, results, 1.0, conclude(results[1.0])[0])


def _over_layers(one: Robustness, claim: Claim, tables: Tables) -> list[dict[str, Any]]:
    first = claim.parts[0]
    where = {**first.where, **one.where}
    own = where.pop("layer")
    layers = sorted({int(row["layer"]) for row in tables.rows(first.table, where)} - {ALL})
    if not layers:
        return []
    results = {layer: judge_claim(claim, tables, {**one.where, "layer": layer}) for layer in layers}
    if own in (MEAN, ALL):
        results = {ALL: judge_claim(claim, tables, one.where), **results}
    chosen = max(layers) if own == LARGEST else own if own in layers else ALL
    if one.where:  # the claim itself is about other rows
        chosen = None
    return _rows(one, results, chosen, conclude(judge_claim(claim, tables))[0])


def _rows(
    one: Robustness, results: Mapping[Any, list[Result]], chosen: int | float | None, own: Verdict
) -> list[dict[str, Any]]:
    rows = []
    for setting, found in results.items():
        verdict = conclude(found)[0]
        estimate = next((r.estimate for r in found if r.estimate is not None), Estimate(NAN))
        rows.append(
            {
                "parameter": one.index,
                "setting": float(setting),
                "claim": one.name,
                "value": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "n_images": estimate.n_images,
                "verdict": str(verdict),
                "chosen": setting == chosen,
                "flips": verdict == _CONTRARY.get(own),
            }
        )
    return rows
