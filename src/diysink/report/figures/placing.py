"""Which figures stand in which section of the analyses, and from which tables they are drawn."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from diysink.report.figures.drawing import Drawing

Draw = Callable[[Mapping[str, pd.DataFrame], float], Sequence[Drawing]]

ALSO: dict[str, tuple[str, ...]] = {
    "relevance": ("relevance_examples",),
    "taxonomy": ("taxonomy",),
}
"""Tables that only figures are made from, by section."""

DRAW: dict[str, Draw] = {}
"""By section: from the tables that are there and the intervals' level to the figures."""
