"""Figures of the report: each says what it shows, from the data, and how sure that is."""

from diysink.drawing import Drawing, standalone
from diysink.report.figures.dose import draw_dose
from diysink.report.figures.examples import Example, draw_examples
from diysink.report.figures.results import draw_accuracy, draw_differences
from diysink.report.figures.robustness import draw_robustness
from diysink.report.figures.search import draw_search
from diysink.report.figures.sinks import draw_norms
from diysink.report.figures.training import draw_curves

__all__ = [
    "Drawing",
    "Example",
    "draw_accuracy",
    "draw_curves",
    "draw_differences",
    "draw_dose",
    "draw_examples",
    "draw_norms",
    "draw_robustness",
    "draw_search",
    "standalone",
]
