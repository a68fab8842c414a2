"""A few of the page's figures as files of their own, which ``dvc plots`` shows side by side.

They are SVG: DVC shows images as they are and needs nothing from the network for them. Its own
charts, of CSV and JSON, load their code from a public server when the page is opened.
"""

from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from pipelines.report.nodes import CURVES

if TYPE_CHECKING:
    from diysink.report.figures import Drawing
    from pipelines.shared import Model

PLOTS = ("norms", *CURVES, "accuracy", "differences")
"""The figures, by name."""

_NOTHING = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="40">'
    '<rect width="100%" height="100%" fill="#ffffff"/>'
    '<text x="10" y="25" font-family="sans-serif" font-size="12">{}</text></svg>'
)


def draw_plots(
    *,
    evaluation_results: dict[str, Any],
    sink_verdicts: pd.DataFrame,
    sink_histogram: pd.DataFrame,
    model: "Model",
    **curves: pd.DataFrame,
) -> dict[str, str]:
    """Each of ``PLOTS`` as the text of an SVG file; where a run has nothing to show, it says so.

    Args:
        evaluation_results: accuracies and differences.
        sink_verdicts: one row an encoder.
        sink_histogram: one row an encoder and bin of norms.
        model: names the encoder whose norms are drawn (``profile``).
        curves: the datasets named in ``CURVES``; empty where nothing was trained.
    """
    from diysink.report import figures

    settings = evaluation_results["settings"]
    verdicts, bins = (
        cast("list[dict[str, Any]]", table[table["encoder"] == model.profile].to_dict("records"))
        for table in (sink_verdicts, sink_histogram)
    )
    drawn: dict[str, Drawing | None] = {
        "norms": figures.draw_norms(verdicts[0], bins) if verdicts and bins else None,
        "accuracy": figures.draw_accuracy(evaluation_results["accuracy"], settings),
        "differences": figures.draw_differences(evaluation_results["comparisons"], settings),
    }
    for stage, name in CURVES.items():
        drawn[stage] = None if curves[name].empty else figures.draw_curves(stage, curves[name])
    return {
        name: _NOTHING.format(f"{name}: nothing to show in this run")
        if (drawing := drawn[name]) is None
        else figures.standalone(drawing)
        for name in PLOTS
    }
