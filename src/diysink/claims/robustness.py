"""Which verdicts depend on tau, or on the layer.

Parts of a claim are judged again with sinks at multiples of the model's own tau, from tables that
were made at each, and layer by layer. What would need the training again (accuracies of models
that treat sinks apart) is not here.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from diysink.analysis.table import ALL
from diysink.claims.entry import Claim, Part, Robustness
from diysink.claims.estimate import NAN, Estimate
from diysink.claims.judge import judge_parts
from diysink.claims.results import Result, Verdict, conclude
from diysink.claims.tables import LARGEST, MEAN, Tables

COLUMNS = [
    "parameter", "setting", "claim", "value", "low", "high", "n_images", "verdict", "chosen",
    "flips",
]  # fmt: skip
_CONTRARY = {
    Verdict.HOLDS: str(Verdict.DOES_NOT_HOLD),
    Verdict.DOES_NOT_HOLD: str(Verdict.HOLDS),
}


def robustness(claims: Mapping[int, Claim], tables: Tables) -> pd.DataFrame:
    """Every entry of robustness of every claim, as far as there are tables.

    Returns:
        ``parameter`` (the index), ``setting`` (multiple of tau; layer, -1 = the mean), ``claim``
        (name of the entry), ``value, low, high, n_images`` (of its first part), ``verdict``,
        ``chosen`` (this is the claim's own setting), ``flips`` (the verdict is the contrary of the
        claim's own; what could not be measured flips nothing).
    """
    rows: list[dict[str, Any]] = []
    for index, judge_at in (("tau", _over_tau), ("layer", _over_layers)):
        for claim in claims.values():
            for one in claim.robustness:
                if one.index == index:
                    rows += judge_at(one, list(one.parts or claim.parts), tables)
    return pd.DataFrame(rows, columns=COLUMNS)


def _over_tau(one: Robustness, parts: list[Part], tables: Tables) -> list[dict[str, Any]]:
    name = parts[0].table
    settings = tables.multiples(name)
    results = {
        tau: judge_parts(parts, tables.at(name, tau), {**one.where, "tau": tau}) for tau in settings
    }
    if 1.0 not in results:
        return []
    return _rows(one, results, 1.0, conclude(results[1.0]))


def _over_layers(one: Robustness, parts: list[Part], tables: Tables) -> list[dict[str, Any]]:
    first = parts[0]
    where = {**first.where, **one.where}
    own = where.pop("layer")
    layers = sorted({int(row["layer"]) for row in tables.rows(first.table, where)} - {ALL})
    if not layers:
        return []
    results = {layer: judge_parts(parts, tables, {**one.where, "layer": layer}) for layer in layers}
    if own in (MEAN, ALL):
        results = {ALL: judge_parts(parts, tables, one.where), **results}
    chosen = max(layers) if own == LARGEST else own if own in layers else ALL
    if one.where:  # the claim itself is about other rows
        chosen = None
    return _rows(one, results, chosen, conclude(judge_parts(parts, tables)))


def _rows(
    one: Robustness, results: Mapping[Any, list[Result]], chosen: int | float | None, own: Verdict
) -> list[dict[str, Any]]:
    rows = []
    for setting, found in results.items():
        verdict = str(conclude(found))
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
                "verdict": verdict,
                "chosen": setting == chosen,
                "flips": verdict == _CONTRARY.get(own),
            }
        )
    return rows
