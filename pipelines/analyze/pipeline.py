"""Wiring of the analyses."""

from kedro.pipeline import Pipeline, node

from pipelines.analyze.labels import label_images
from pipelines.analyze.nodes import run_analyses

HOW = ["params:analyze", "params:seed", "params:workspace", "params:device"]


def create_pipeline() -> Pipeline:
    """Predictions and models in, tidy tables out."""
    from diysink.analysis import ANALYSES

    outputs = ["analyses_left_out", "tau_sweep_analysis"]
    outputs += [f"{name}_analysis" for name in ANALYSES]
    outputs += [f"{name}_rows" for name, kind in ANALYSES.items() if kind.keep_rows]
    inputs = [
        *("records", "finetuned_models", "sink_profiles", "aligned_connectors"),
        *("predictions", "image_labels", "params:model", "params:align", "params:evaluate"),
        *HOW,
    ]
    return Pipeline(
        [
            node(
                label_images,
                ["records", "params:prepare", "params:analyze", "params:seed"],
                "image_labels",
                name="label_images",
            ),
            node(run_analyses, inputs, {name: name for name in outputs}, name="run_analyses"),
        ]
    )
