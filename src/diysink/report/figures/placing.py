"""Which figures stand in which section of the analyses, and from which tables they are drawn."""

from collections.abc import Callable

from diysink.drawing import Drawing, Tables
from diysink.report.figures.dimensions import draw_section_dimensions
from diysink.report.figures.function import draw_section_function
from diysink.report.figures.probes import draw_section_probes
from diysink.report.figures.relevance import draw_section_relevance
from diysink.report.figures.words import draw_section_words

ALSO: dict[str, tuple[str, ...]] = {
    "relevance": ("relevance_examples",),
}
"""Tables that only figures are made from, by section."""

DRAW: dict[str, Callable[[Tables, float], list[Drawing]]] = {
    "dimensions": draw_section_dimensions,
    "function": draw_section_function,
    "relevance": draw_section_relevance,
    "words": draw_section_words,
    "probes": draw_section_probes,
}
"""By section: from the tables that are there and the intervals' level to the figures."""
