"""Tables of analyses that are not yet tidy, as if they were. A function goes with its analysis.

Each takes the old tables by name and gives the table of `diysink.analysis` that will replace them,
as far as claims read it.
"""

from collections.abc import Callable, Mapping

import pandas as pd

Old = Mapping[str, pd.DataFrame | None]


def _there(old: Old, name: str) -> pd.DataFrame:
    table = old.get(name)
    return pd.DataFrame() if table is None else table.copy()


def _dimensions(old: Old) -> pd.DataFrame:
    ratios, overlap = _there(old, "sink_dimensions"), _there(old, "dimension_overlap")
    if ratios.empty:
        return pd.DataFrame()
    controls = {"true": "none", "shuffled": "random-matched"}
    ratios = ratios.rename(columns={"ratio": "value"})
    parts = [
        ratios.assign(
            metric="ratio", condition=ratios["kind"], control=ratios["mask"].map(controls)
        )
    ]
    if len(overlap):
        overlap = overlap.rename(columns={"jaccard": "value"})
        condition = overlap["a"] + " & " + overlap["b"]
        parts.append(overlap.assign(metric="jaccard", condition=condition, control="none"))
    return pd.concat(parts, ignore_index=True)


CONVERTERS: dict[str, Callable[[Old], pd.DataFrame]] = {
    "dimensions": _dimensions,
}
OLD = {
    "dimensions": ("sink_dimensions", "dimension_overlap"),
}
