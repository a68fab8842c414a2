"""The sink census of a vision encoder: every layer, one pass, a card and a page."""

from diysink.census.card import Card
from diysink.census.compare import Comparison, compare
from diysink.census.images import Images, LeftOut, read_images
from diysink.census.options import Options
from diysink.census.page import write_page
from diysink.census.quantities import QUANTITIES
from diysink.census.run import Census, census_of
from diysink.census.sweep import sweep_of
from diysink.census.sweep_page import write_sweep_page

__all__ = [
    "QUANTITIES",
    "Card",
    "Census",
    "Comparison",
    "Images",
    "LeftOut",
    "Options",
    "census_of",
    "compare",
    "read_images",
    "sweep_of",
    "write_page",
    "write_sweep_page",
]
