"""Whether the grid reaches as far as the norms do: beyond its ends, populations are one.

The grid has ten octaves on either side of its anchor. Norms beyond it are counted in its first and
last bin, where nothing can be told apart. Whole octaves are counted much further, so that it is
known how many tokens are out there and where the grid should lie.
"""

import numpy as np

from diysink.sinks.layout import OCTAVES, REACH
from diysink.sinks.profile import Evidence
from diysink.sinks.statistics import Statistics


def within_grid(statistics: Statistics, most: float) -> Evidence:
    """The question ``grid``: the share of tokens whose norms lie beyond the grid.

    Args:
        statistics: of at least one image.
        most: the largest share; fewer tokens than this make no population.
    """
    layout, counts = statistics.layout, statistics.tables["octaves"].numpy()
    tokens = int(counts.sum())
    below = int(counts[: REACH - OCTAVES + 1].sum())
    above = int(counts[REACH + OCTAVES + 1 :].sum())
    share = (below + above) / tokens
    low, high = layout.edges[0], layout.edges[-1]
    says = (
        f"{share:.3g} of the tokens have norms beyond the grid of norms, which reaches from "
        f"{low:.3g} to {high:.3g}: {below:,} below and {above:,} above, of {tokens:,}."
    )
    if share > most and layout.relative:
        says += " They are over the median of their image: look at these images."
    elif share > most:
        half = int(np.searchsorted(counts.cumsum(), tokens / 2))  # the octave of the median
        median = layout.octave_edges[np.clip(half - 1, 0, 2 * REACH)]
        says += (
            f" Populations out there cannot be told apart. Measure again with the grid around "
            f"these norms: calibration.fixed about their median, {median:.2g}."
        )
    return Evidence("grid", share <= most, share, None, most, says)
