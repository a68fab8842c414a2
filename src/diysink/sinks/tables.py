"""What was measured, as tidy tables: one row an observation, one column a variable."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from diysink.sinks.profile import SinkProfile
from diysink.sinks.statistics import SCALE, Statistics
from diysink.sinks.verdict import interval_of


def verdict_table(profiles: Mapping[str, SinkProfile]) -> pd.DataFrame:
    """One row an encoder: tau with its interval, the verdict, sinks per image."""
    rows = [
        {
            "encoder": name,
            "family": profile.encoder.family,
            "layer": profile.layer,
            "method": profile.method,
            "tau": profile.tau,
            "relative": profile.relative,
            "low": profile.interval[0] if profile.interval else None,
            "high": profile.interval[1] if profile.interval else None,
            "found": profile.found,
            "images": profile.images,
            "patches": profile.grid[0] * profile.grid[1],
            "sinks_per_image": profile.mean_sinks,
            "share_without": profile.share_without,
            "sink_dimensions": list(profile.sink_dimensions),
            "digest": profile.digest,
        }
        for name, profile in profiles.items()
    ]
    floats = dict.fromkeys(("tau", "low", "high"), "float64")
    return pd.DataFrame(rows).astype(floats)


def evidence_table(profiles: Mapping[str, SinkProfile]) -> pd.DataFrame:
    """One row a question of the verdict."""
    rows = [
        {
            "encoder": name,
            "question": one.name,
            "passed": one.passed,
            "value": one.value,
            "low": one.interval[0] if one.interval else None,
            "high": one.interval[1] if one.interval else None,
            "threshold": one.threshold,
            "says": one.says,
        }
        for name, profile in profiles.items()
        for one in profile.evidence
    ]
    return pd.DataFrame(rows).astype(dict.fromkeys(("value", "low", "high"), "float64"))


def histogram_table(name: str, statistics: Statistics) -> pd.DataFrame:
    """One row a bin of norms, from the lowest that is used to the highest.

    ``attention`` is the mean attention received over an even share, with a 95 % bootstrap interval
    over images (``attention_low``, ``attention_high``; missing where a replicate has no such
    token); ``contrast`` the mean pixel contrast over the image's mean; ``massive`` counts tokens
    with a massive activation.
    """
    tables, edges = statistics.tables, statistics.layout.edges
    norms = tables["norms"].numpy()
    used = norms[0].nonzero()[0]
    if used.size == 0:
        return pd.DataFrame({"encoder": []})
    rows = []
    with np.errstate(divide="ignore", invalid="ignore"):
        attention = tables["attention"].numpy() / SCALE / norms
        contrast = tables["contrast"][0].numpy() / SCALE / norms[0]
    for place in range(used.min(), used.max() + 1):
        interval = interval_of(attention[1:, place])
        rows.append(
            {
                "encoder": name,
                "norm_low": edges[place],
                "norm_high": edges[place + 1],
                "tokens": int(norms[0, place]),
                "share": norms[0, place] / norms[0].sum(),
                "attention": attention[0, place],
                "attention_low": interval[0] if interval else np.nan,
                "attention_high": interval[1] if interval else np.nan,
                "contrast": contrast[place],
                "massive": int(tables["massive"][place]),
            }
        )
    return pd.DataFrame(rows)


def counts_table(name: str, profile: SinkProfile) -> pd.DataFrame:
    """One row a number of sinks: how many images have it."""
    images = np.array(profile.sinks_per_image)
    return pd.DataFrame(
        {
            "encoder": name,
            "sinks": np.arange(images.size),
            "images": images,
            "share": images / max(1, images.sum()),
        }
    )


def positions_table(name: str, statistics: Statistics, profile: SinkProfile) -> pd.DataFrame:
    """One row a patch: how many sinks were there, in all and per image."""
    rows, columns = profile.grid
    edge = None if profile.tau is None else statistics.layout.nearest_edge(profile.tau)
    positions = statistics.tables["positions"].numpy()
    sinks = np.zeros(rows * columns, np.int64) if edge is None else positions[edge:].sum(0)
    row, column = np.divmod(np.arange(rows * columns), columns)
    return pd.DataFrame(
        {
            "encoder": name,
            "row": row,
            "column": column,
            "sinks": sinks,
            "per_image": sinks / statistics.images,
        }
    )
