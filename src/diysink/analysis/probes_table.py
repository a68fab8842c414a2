"""What probes got right, as rows of the table: with their controls, and sinks minus each other."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from diysink.analysis.table import NONE
from diysink.resampling import Bootstrap, never_certain

CONTROLS = (NONE, "shuffled", "untrained")
"""Each probe as it is, on labels shuffled over images, and on an encoder with random weights."""


def probe_rows(
    facts: list[dict[str, Any]], hits: list[ndarray], counts: list[ndarray], bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    """The table's rows; hits are in turns of `CONTROLS`, one turn for each of ``facts``."""
    right, answers = np.column_stack(hits), np.column_stack(counts)
    seen = answers.any(axis=1)
    right, answers = right[seen], answers[seen]
    value, drawn = right.sum(0) / answers.sum(0), bootstrap.ratios(right, answers)
    low, high = bootstrap.interval(drawn)
    turn = len(CONTROLS)
    gap_low, gap_high = bootstrap.interval(drawn[:, ::turn] - drawn[:, 2::turn])
    table: list[dict[str, Any]] = []
    for i, fact in enumerate(facts):
        for kind, control in enumerate(CONTROLS):
            at = turn * i + kind
            ends = never_certain(
                low[[at]], high[[at]], images=fact["n_images"], level=bootstrap.level
            )
            table.append({"metric": "accuracy", **fact, "control": control, "value": value[at],
                          "low": ends[0][0], "high": ends[1][0]})  # fmt: skip
        gap = value[turn * i] - value[turn * i + 2]
        table.append({"metric": "selectivity", **fact, "value": gap, "low": gap_low[i],
                      "high": gap_high[i]})  # fmt: skip
    return table + _contrasts(pd.DataFrame(facts), value[::turn], drawn[:, ::turn], bootstrap)


def _contrasts(
    facts: pd.DataFrame,
    value: Float[ndarray, " probes"],
    drawn: Float[ndarray, "resamples probes"],
    bootstrap: Bootstrap,
) -> list[dict[str, Any]]:
    """Sinks minus every other source, for each attribute and for the mean over a scope's."""
    keys = ["where", "layer", "group", "scope"]
    sinks = facts[facts["condition"] == "sink"].reset_index().set_index(keys)["index"]
    others = facts[facts["condition"] != "sink"].reset_index()
    pairs = others.assign(sink=[sinks[tuple(row)] for row in others[keys].to_numpy()])
    rows = []
    for names in (keys, ["where", "layer", "scope"]):
        for key, part in pairs.groupby([*names, "condition"], sort=True):
            row = {"group": "all"} | dict(zip((*names, "condition"), key, strict=True))
            sink, other = part["sink"].to_numpy(), part["index"].to_numpy()
            gaps = (drawn[:, sink] - drawn[:, other]).mean(1, keepdims=True)
            low, high = bootstrap.interval(gaps)
            rows.append(
                {**row, "metric": "accuracy", "condition": f"sink - {row['condition']}",
                 "value": float((value[sink] - value[other]).mean()), "low": low[0],
                 "high": high[0], "n": int(part["n"].sum()),
                 "n_images": int(part["n_images"].max())}
            )  # fmt: skip
    return rows
