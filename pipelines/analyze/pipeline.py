"""Wiring of the analyses."""

from kedro.pipeline import Pipeline, node

from pipelines.analyze.carries import isolate_words, map_relevance, probe_tokens
from pipelines.analyze.claims import TABLES, judge_claims
from pipelines.analyze.inside import find_dimensions, tell_functions
from pipelines.analyze.labels import label_images
from pipelines.analyze.nodes import run_analyses
from pipelines.analyze.sweep import sweep_tau

# What every analysis that asks a model takes: whom, about what, and how.
MODEL = ["records", "finetuned_models"]
HOW = ["params:analyze", "params:seed", "params:workspace", "params:device"]
# What one that only counts takes, besides its table.
COUNTS = ["params:analyze", "params:seed"]


def create_pipeline() -> Pipeline:
    """Predictions and models in, tidy tables out; the claims are judged from all of them."""
    named = {
        find_dimensions: (
            [*MODEL, "sink_profiles", "aligned_connectors", "params:model", "params:align", *HOW],
            ["sink_dimensions", "dimension_overlap"],
        ),
        tell_functions: ([*MODEL, *HOW], "sink_function"),
        label_images: (["records", "params:prepare", *COUNTS], "image_labels"),
        probe_tokens: ([*MODEL, "image_labels", *HOW], ["probes", "probe_contrasts"]),
        map_relevance: ([*MODEL, "image_labels", *HOW], ["relevance", "relevance_examples"]),
        isolate_words: (
            [*MODEL, "image_labels", *HOW],
            ["words", "word_naming", "word_naming_by_attribute"],
        ),
        sweep_tau: ([*MODEL, "image_labels", *HOW], "tau_sweep"),
        judge_claims: (
            [
                *("predictions", "attention_rows", "benchmark_results", "tau_sweep"),
                *("params:model", "params:sinks", *COUNTS, *TABLES),
            ],
            ["claims", "claim_parts", "planned_comparisons", "robustness", "costs", "claims_page"],
        ),
    }
    from diysink.analysis import ANALYSES

    outputs = ["analyses_left_out", *(f"{name}_analysis" for name in ANALYSES)]
    outputs += [f"{name}_rows" for name, kind in ANALYSES.items() if kind.keep_rows]
    together = node(
        run_analyses,
        [
            *("records", "finetuned_models", "sink_profiles", "aligned_connectors"),
            *("predictions", "image_labels", "params:model", "params:align", "params:evaluate"),
            *HOW,
        ],
        {name: name for name in outputs},
        name="run_analyses",
    )
    return Pipeline(
        [
            together,
            *(
                node(function, inputs, outputs, name=function.__name__)
                for function, (inputs, outputs) in named.items()
            ),
        ]
    )
