"""Which figures stand in which section of the analyses, and from which tables they are drawn."""

from collections.abc import Callable

from diysink.drawing import Drawing, Tables
from diysink.report.figures.function import draw_section_function

DRAW: dict[str, Callable[[Tables, float], list[Drawing]]] = {
    "function": draw_section_function,
}
"""By section: from the tables that are there and the intervals' level to the figures."""
