"""Wiring of the analyses."""

from kedro.pipeline import Pipeline, node

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
                ["predictions", "params:analyze", "params:seed"],
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
        ]
    )
