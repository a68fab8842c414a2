"""The paper's claims, judged from all that the run measured."""

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from pipelines.shared import Model
    from pipelines.sinks.settings import Sinks


TABLES = (
    "sink_verdicts",
    "sink_evidence",
    "attention_analysis",
    "attention_by_layer_analysis",
    "sink_dimensions",
    "dimension_overlap",
    "ablation_analysis",
    "probes_analysis",
    "relevance_analysis",
    "words_analysis",
)
"""What claims are judged from, besides answers: inputs of the node in this order."""
Table = pd.DataFrame


def judge_claims(
    predictions: Table,
    attention_rows: Table,
    benchmarks: dict[str, Any],
    tau_sweep: Table,
    model: "Model",
    sinks: "Sinks",
    analyze: dict[str, Any],
    seed: int,
    *tables: Table | None,
) -> tuple[Table, Table, Table, Table, Table, str]:
    """Verdicts; what they rest on; planned comparisons; robustness; costs; and the page.

    All are empty where ``analyze.claims`` is null.

    Args:
        predictions: of all variants.
        attention_rows: attention and norm of every visual token.
        benchmarks: contents of the benchmarks' result files, by name.
        tau_sweep: what tokens carry at multiples of tau.
        model: parameters: whose sinks were treated apart.
        sinks: parameters: which encoders should have none, and how many sinks are few.
        analyze: parameters.
        seed: of the bootstraps.
        tables: those named in ``TABLES``, in that order.
    """
    from diysink.claims import (
        Evidence,
        Roles,
        claims_page,
        cost_table,
        judge,
        over_layers,
        over_masks,
        over_tau,
        planned_comparisons,
    )
    from diysink.evaluation import primary
    from diysink.miniature.card import is_induced

    asked = analyze["claims"]
    if asked is None:
        nothing = Table()
        return nothing, nothing, nothing, nothing, nothing, ""
    options = {"resamples": analyze["resamples"], "level": analyze["level"], "seed": seed}
    roles, level = Roles(**asked["roles"]), float(analyze["level"])
    named = _as_claims_read(dict(zip(TABLES, tables, strict=True)))
    planned = planned_comparisons(primary(predictions), roles, **options)
    costs = cost_table(benchmarks)
    found = Evidence(
        {**named, "planned_comparisons": planned, "costs": costs},
        encoder=model.profile,
        controls=sinks.controls,
        roles=roles,
        level=level,
        induced=is_induced(model.encoder),
    )
    robust = [over_layers(found)]  # empty where no analysis looked at single layers
    verdict = found.row("sink_verdicts", encoder=found.encoder)
    if verdict is not None and verdict["found"]:  # else there is no tau to vary
        robust.insert(0, over_masks(tau_sweep, level))
        if not attention_rows.empty:
            share = float(sinks.calibration.credible.share)
            tau, multiples = float(verdict["tau"]), [float(times) for times in asked["taus"]]
            robust.insert(0, over_tau(attention_rows, tau, multiples, share=share, **options))
    claims, parts = judge(found)
    page = claims_page(claims, parts, level=level, induced=found.induced)
    robustness = pd.concat([t for t in robust if len(t)] or robust, ignore_index=True)
    return claims, parts, planned, robustness, costs, page


def _as_claims_read(tables: dict[str, Table | None]) -> dict[str, Table | None]:
    """Tidy tables in the form that the claims read, until their entries name these columns."""
    attention, by_layer = (
        tables.pop(f"{name}_analysis") for name in ("attention", "attention_by_layer")
    )
    if attention is not None and not attention.empty:
        own = attention[attention["tau"] == 1].assign(
            mask=lambda t: t["control"].replace("none", "true")
        )
        rho = own[own["metric"] == "spearman"].rename(columns={"value": "rho"})
        kinds = own[own["metric"].isin(["attention", "attention ratio"])].assign(
            kind=lambda t: t["condition"].replace("sink / nonsink", "ratio"),
            norms=lambda t: t["mask"],
        )
        tables |= {"norm_attention": rho, "attention_by_kind": kinds}
    if by_layer is not None and not by_layer.empty:
        tables["attention_by_layer"] = by_layer.assign(
            kind=by_layer["condition"], mask=by_layer["control"].replace("none", "true")
        )
    return tables
