"""The paper's claims, judged from all that the run measured."""

from typing import Any

import pandas as pd

from pipelines.card import says_induced

TABLES = (
    "sink_verdicts",
    "sink_evidence",
    "attention_by_kind",
    "norm_attention",
    "attention_by_layer",
    "sink_dimensions",
    "dimension_overlap",
    "token_ablation",
    "probes",
    "probe_contrasts",
    "relevance",
    "word_naming",
)
"""What claims are judged from, besides answers: inputs of the node in this order."""
Table = pd.DataFrame


def judge_claims(
    predictions: Table,
    visual_attention: Table,
    benchmarks: dict[str, Any],
    tau_sweep: Table,
    model: dict[str, Any],
    sinks: dict[str, Any],
    analyze: dict[str, Any],
    seed: int,
    *tables: Table | None,
) -> tuple[Table, Table, Table, Table, Table, str]:
    """Verdicts; what they rest on; planned comparisons; robustness; costs; and the page.

    All are empty where ``analyze.claims`` is null.

    Args:
        predictions: of all variants.
        visual_attention: attention and norm of every visual token.
        benchmarks: contents of the benchmarks' result files, by name.
        tau_sweep: what tokens carry, judged at other taus.
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
        over_tau,
        planned_comparisons,
    )
    from diysink.evaluation import primary

    asked = analyze["claims"]
    if asked is None:
        nothing = Table()
        return nothing, nothing, nothing, nothing, nothing, ""
    options = {"resamples": analyze["resamples"], "level": analyze["level"], "seed": seed}
    roles, level = Roles(**asked["roles"]), float(analyze["level"])
    named = dict(zip(TABLES, tables, strict=True))
    planned = planned_comparisons(primary(predictions), roles, **options)
    costs = cost_table(benchmarks)
    expected = sinks["expect"] or {}
    found = Evidence(
        {**named, "planned_comparisons": planned, "costs": costs},
        encoder=model["profile"],
        controls=tuple(name for name, verdict in expected.items() if verdict == "none"),
        roles=roles,
        level=level,
        induced=says_induced(model["encoder"]),
    )
    robust = [over_layers(found)]  # empty where no analysis looked at single layers
    verdict = found.row("sink_verdicts", encoder=found.encoder)
    if verdict is not None and verdict["found"]:  # else there is no tau to vary
        robust.insert(0, tau_sweep)
        if not visual_attention.empty:
            share = float(sinks["calibration"]["credible"]["share"])
            tau, multiples = float(verdict["tau"]), [float(times) for times in asked["taus"]]
            robust.insert(0, over_tau(visual_attention, tau, multiples, share=share, **options))
    claims, parts = judge(found)
    page = claims_page(claims, parts, level=level, induced=found.induced)
    robustness = pd.concat([t for t in robust if len(t)] or robust, ignore_index=True)
    return claims, parts, planned, robustness, costs, page
