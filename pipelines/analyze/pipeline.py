"""Wiring of the analyses."""

from kedro.pipeline import Pipeline, node

from pipelines.analyze.answers import answer_matched, label_tasks
from pipelines.analyze.carries import isolate_words, map_relevance, probe_tokens
from pipelines.analyze.claims import TABLES, judge_claims
from pipelines.analyze.inside import (
    attend_by_layer,
    compare_criteria,
    curve_attention,
    find_dimensions,
    replace_contents,
    tell_functions,
)
from pipelines.analyze.labels import label_images
from pipelines.analyze.nodes import (
    ablate_tokens,
    measure_attention,
    tabulate_attention,
    weigh_sinks,
)


def create_pipeline() -> Pipeline:
    """Predictions and models in, tidy tables out."""
    return Pipeline(
        [
            node(
                ablate_tokens,
                ["predictions", "matched_predictions", "params:analyze", "params:seed"],
                ["token_ablation", "dissociation"],
                name="ablate_tokens",
            ),
            node(
                measure_attention,
                [
                    "records",
                    "finetuned_models",
                    "params:analyze",
                    "params:workspace",
                    "params:device",
                ],
                "visual_attention",
                name="measure_attention",
            ),
            node(
                tabulate_attention,
                ["visual_attention", "params:analyze", "params:seed"],
                ["attention_by_norm", "attention_by_kind"],
                name="tabulate_attention",
            ),
            node(
                weigh_sinks,
                [
                    "records",
                    "finetuned_models",
                    "params:analyze",
                    "params:seed",
                    "params:workspace",
                    "params:device",
                ],
                "attention_by_weight",
                name="weigh_sinks",
            ),
            node(
                label_images,
                ["records", "params:prepare", "params:analyze", "params:seed"],
                "image_labels",
                name="label_images",
            ),
            node(
                probe_tokens,
                [
                    "records",
                    "finetuned_models",
                    "image_labels",
                    "params:analyze",
                    "params:seed",
                    "params:workspace",
                    "params:device",
                ],
                ["probes", "probe_contrasts"],
                name="probe_tokens",
            ),
            node(
                map_relevance,
                [
                    "records",
                    "finetuned_models",
                    "image_labels",
                    "params:analyze",
                    "params:seed",
                    "params:workspace",
                    "params:device",
                ],
                ["relevance", "relevance_examples"],
                name="map_relevance",
            ),
            node(
                isolate_words,
                [
                    "records",
                    "finetuned_models",
                    "image_labels",
                    "params:analyze",
                    "params:seed",
                    "params:workspace",
                    "params:device",
                ],
                ["words", "word_naming", "word_naming_by_attribute"],
                name="isolate_words",
            ),
            node(
                label_tasks,
                [
                    "records",
                    "finetuned_models",
                    "params:analyze",
                    "params:evaluate",
                    "params:seed",
                    "params:workspace",
                    "params:device",
                ],
                ["taxonomy", "taxonomy_agreement"],
                name="label_tasks",
            ),
            node(
                answer_matched,
                [
                    "records",
                    "finetuned_models",
                    "params:analyze",
                    "params:evaluate",
                    "params:seeds",
                    "params:workspace",
                    "params:device",
                ],
                "matched_predictions",
                name="answer_matched",
            ),
            node(
                curve_attention,
                ["visual_attention", "params:analyze", "params:seed"],
                ["attention_curve", "norm_attention"],
                name="curve_attention",
            ),
            node(
                attend_by_layer,
                [
                    "records",
                    "finetuned_models",
                    "params:analyze",
                    "params:seed",
                    "params:workspace",
                    "params:device",
                ],
                "attention_by_layer",
                name="attend_by_layer",
            ),
            node(
                find_dimensions,
                [
                    "records",
                    "sink_profiles",
                    "aligned_connectors",
                    "finetuned_models",
                    "params:model",
                    "params:align",
                    "params:analyze",
                    "params:seed",
                    "params:workspace",
                    "params:device",
                ],
                ["sink_dimensions", "dimension_overlap"],
                name="find_dimensions",
            ),
            node(
                compare_criteria,
                [
                    "records",
                    "finetuned_models",
                    "params:analyze",
                    "params:seed",
                    "params:workspace",
                    "params:device",
                ],
                ["criteria", "criteria_agreement"],
                name="compare_criteria",
            ),
            node(
                tell_functions,
                [
                    "records",
                    "finetuned_models",
                    "params:analyze",
                    "params:seed",
                    "params:workspace",
                    "params:device",
                ],
                "sink_function",
                name="tell_functions",
            ),
            node(
                replace_contents,
                [
                    "records",
                    "finetuned_models",
                    "params:analyze",
                    "params:seed",
                    "params:workspace",
                    "params:device",
                ],
                "replacement",
                name="replace_contents",
            ),
            node(
                judge_claims,
                [
                    "predictions",
                    "visual_attention",
                    "benchmark_results",
                    "params:analyze",
                    "params:model",
                    "params:sinks",
                    "params:seed",
                    *TABLES,
                ],
                [
                    "claims",
                    "claim_parts",
                    "planned_comparisons",
                    "robustness",
                    "costs",
                    "claims_page",
                ],
                name="judge_claims",
            ),
        ]
    )
