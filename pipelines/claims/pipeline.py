"""Wiring of the claims."""

from kedro.pipeline import Pipeline, node

from pipelines.claims.nodes import judge_claims

OUTPUTS = [
    "claim_verdicts",
    "claim_parts",
    "planned_comparisons",
    "robustness",
    "costs",
    "claims_page",
]


def create_pipeline() -> Pipeline:
    """Tables of the run in; verdicts, what they rest on, and a page out."""
    from diysink.analysis import ANALYSES

    datasets = [
        *("predictions", "benchmark_results", "sink_verdicts", "sink_evidence"),
        *(f"{name}_analysis" for name in (*ANALYSES, "tau_sweep")),
    ]
    inputs = {name: name for name in datasets}
    inputs |= {name: f"params:{name}" for name in ("claims", "model", "sinks", "analyze", "seed")}
    return Pipeline([node(judge_claims, inputs, OUTPUTS, name="judge_claims")])
