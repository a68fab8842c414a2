"""The one shape of every analysis' result: a tidy table, one number a row.

| column | content |
|---|---|
| ``metric`` | what was measured: ``accuracy``, ``attention``, ``entropy``, ... |
| ``where`` | ``vit``, ``llm`` or ``answers`` |
| ``layer``, ``head`` | from 0; :data:`ALL` = mean over all of them, or not of a single one |
| ``group`` | of questions or of an attribute; ``all`` = over all of them |
| ``condition`` | which tokens, or what was done: ``sink``, ``nonsink``, ``random-matched``, ... |
| ``control`` | ``none``: the measurement; else the control: ``shuffled``, ``random-matched``, ... |
| ``value``, ``low``, ``high`` | the number and the interval over images; NaN where there is none |
| ``n``, ``n_images`` | tokens, questions or answers behind it; images behind it |

Columns of an analysis' own follow: some tell rows apart (``attribute``, ``dimension``), the others
are further facts of a row (``p``, ``threshold``).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

ALL = -1
NONE = "none"
_DEFAULTS: dict[str, Any] = {
    "metric": None,
    "where": "",
    "layer": ALL,
    "head": ALL,
    "group": "all",
    "condition": "",
    "control": NONE,
    "value": None,
    "low": float("nan"),
    "high": float("nan"),
    "n": 0,
    "n_images": 0,
}
COLUMNS = tuple(_DEFAULTS)
KEYS = ("metric", "where", "layer", "head", "group", "condition", "control")
"""The columns that tell rows apart in every table."""


def tidy(
    rows: Sequence[Mapping[str, Any]] | pd.DataFrame,
    keys: Sequence[str] = (),
    facts: Sequence[str] = (),
) -> pd.DataFrame:
    """Rows as a tidy table: every column in its place, nothing told twice.

    Args:
        rows: each with ``metric`` and ``value``; a column that is left out has its default.
        keys: further columns that tell rows apart.
        facts: further columns that do not.

    Raises:
        ValueError: an unknown column, no metric or value, or two rows of the same thing.
    """
    table = pd.DataFrame(rows)
    columns = [*COLUMNS, *keys, *facts]
    if unknown := [str(name) for name in table.columns if name not in columns]:
        raise ValueError(
            f"columns {', '.join(unknown)} are not of a tidy table with {', '.join(columns)}"
        )
    if len(table) and not {"metric", "value"} <= set(table.columns):
        raise ValueError("a tidy table needs the columns metric and value")
    table = table.reindex(columns=columns)
    for name, default in _DEFAULTS.items():
        kind: Any = {int: "int64", float: "float64"}.get(type(default), "object")
        filled = table[name] if default is None else table[name].astype("object").fillna(default)
        table[name] = filled.astype(kind)
    table["value"] = table["value"].astype("float64")
    if (twice := table.duplicated([*KEYS, *keys])).any():
        row = table[twice].iloc[0][[*KEYS, *keys]].to_dict()
        raise ValueError(f"{int(twice.sum())} rows stand twice in a tidy table, such as {row}")
    return table.reset_index(drop=True)


def select(table: pd.DataFrame, **equal: Any) -> pd.DataFrame:
    """The rows whose columns have these values; a list: any of them."""
    chosen = pd.Series(data=True, index=table.index)
    for name, value in equal.items():
        column = table[name]
        chosen &= column.isin(value) if isinstance(value, list | tuple) else column == value
    return table[chosen]
