"""Claims, judged from all that the run measured."""

from typing import Any

import pandas as pd

from pipelines.analyze.settings import Analyze
from pipelines.claims.settings import Claims
from pipelines.shared import Model
from pipelines.sinks.settings import Sinks

Table = pd.DataFrame


def judge_claims(
    *,
    predictions: Table,
    benchmark_results: dict[str, Any],
    sink_verdicts: Table,
    sink_evidence: Table,
    claims: Claims,
    model: Model,
    sinks: Sinks,
    analyze: Analyze,
    seed: int,
    **analyses: Table | None,
) -> tuple[Table, Table, Table, Table, Table, str]:
    """Verdicts; what they rest on; planned comparisons; robustness; costs; and the page.

    Args:
        predictions: of all variants.
        benchmark_results: contents of the benchmarks' result files, by name.
        sink_verdicts: one row an encoder.
        sink_evidence: one row a question of a verdict.
        claims: the entries.
        model: whose sinks the models treat apart.
        sinks: which encoders should have none.
        analyze: level and resamples of the intervals.
        seed: of the bootstraps.
        analyses: tables of the analyses, by the name of the dataset.
    """
    from diysink.claims import (
        Tables,
        claims_page,
        cost_table,
        judge,
        planned_comparisons,
        robustness,
        sinks_table,
    )
    from diysink.evaluation import primary
    from diysink.miniature.card import is_induced
    from diysink.resampling import Bootstrap

    entries = claims.named(profile=model.profile)
    bootstrap = Bootstrap(analyze.resamples, analyze.level, seed)
    planned = planned_comparisons(primary(predictions), entries.values(), bootstrap)
    costs = cost_table(benchmark_results, bootstrap)
    suffix = "_analysis"
    tidy = {name.removesuffix(suffix): t for name, t in analyses.items() if name.endswith(suffix)}
    tables = Tables(
        {
            **tidy,
            "sinks": sinks_table(sink_verdicts, sink_evidence, sinks.expect, analyze.level),
            "comparisons": planned,
            "costs": costs,
        },
        analyze.level,
    )
    induced = is_induced(model.encoder)
    verdicts, parts = judge(entries, tables, induced=induced)
    page = claims_page(verdicts, parts, level=analyze.level, induced=induced)
    return verdicts, parts, planned, robustness(entries, tables), costs, page
