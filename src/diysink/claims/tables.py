"""The tables of one run, and how a claim names rows of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from scipy.stats import binomtest

from diysink.analysis.table import ALL
from diysink.claims.estimate import NAN, Row
from diysink.claims.names import known

LARGEST, MEAN, EACH = "largest", "mean", "each"


@dataclass(frozen=True)
class Tables:
    """What claims are judged from.

    Attributes:
        tables: by name; one that was not made is None or empty.
        level: of all intervals; 1 - level is the error allowed.
    """

    tables: Mapping[str, pd.DataFrame | None]
    level: float = 0.95
    _records: dict[str, list[Row]] = field(default_factory=dict, init=False, repr=False)

    def rows(self, name: str, where: Mapping[str, Any]) -> list[Row]:
        """The rows of a table whose columns have these values (see `Part.where`).

        Raises:
            ValueError: an unknown table or column.
        """
        known(name, self.tables, "table")
        if name not in self._records:
            table = self.tables[name]
            self._records[name] = [] if table is None else [*table.to_dict("records")]
        rows = self._records[name]
        for column in where if rows else ():
            known(column, [str(key) for key in rows[0]], f"column of the table {name}:")
        plain = {c: v for c, v in where.items() if not _is_special(v)}
        rows = [row for row in rows if all(row[c] == value for c, value in plain.items())]
        for column, value in where.items():
            if column not in plain and rows:
                rows = _chosen(rows, column, value)
        return rows

    def at(self, name: str, tau: float) -> "Tables":
        """The table ``name`` with sinks at a multiple of tau, out of ``tau_sweep``.

        A table with a column ``tau`` has the multiples itself.
        """
        own, sweep = self.tables.get(name), self.tables.get("tau_sweep")
        if own is not None and "tau" in own:
            return self
        rows = pd.DataFrame()
        if sweep is not None and len(sweep):
            rows = sweep[(sweep["analysis"] == name) & (sweep["tau"] == tau)]
        return Tables({**self.tables, name: rows}, self.level)

    def multiples(self, name: str) -> list[float]:
        """The multiples of tau that a table was made at."""
        own, sweep = self.tables.get(name), self.tables.get("tau_sweep")
        if own is not None and "tau" in own:
            return sorted({float(tau) for tau in own["tau"].dropna()})
        if sweep is None or sweep.empty:
            return []
        return sorted({float(tau) for tau in sweep.loc[sweep["analysis"] == name, "tau"]})


def _is_special(value: Any) -> bool:
    return isinstance(value, list | tuple) or value in (LARGEST, MEAN, EACH)


def _chosen(rows: list[Row], column: str, value: Any) -> list[Row]:
    match value:
        case "largest":
            largest = max(row[column] for row in rows)
            return [row for row in rows if row[column] == largest]
        case "mean":
            return [row for row in rows if row[column] not in (ALL, "all")]
        case "each":
            return rows
        case _:
            there = {row[column] for row in rows}
            first = next((one for one in value if one in there), None)
            return [row for row in rows if row[column] == first]


def trainings(row: Row) -> int:
    """How many trainings a row rests on; 0: on none, such as what is measured in the encoder.

    Analyses look at one checkpoint, whatever number of them a run trained.
    """
    if "n_seeds" in row:
        return int(row["n_seeds"])
    return int(row.get("where") in ("llm", "answers"))


def sinks_table(
    verdicts: pd.DataFrame,
    evidence: pd.DataFrame,
    expect: Mapping[str, str | None],
    level: float = 0.95,
) -> pd.DataFrame:
    """Sinks of every encoder as rows with ``metric`` and ``condition`` (the encoder).

    Args:
        verdicts: one row an encoder.
        evidence: one row a question of a verdict.
        expect: ``found`` or ``none``, by encoder.
        level: of the interval of ``common``.

    Returns:
        Metrics: ``sinks`` (in an image; NaN of an encoder that was not measured), ``sinks per
        image`` (with its interval, from the share of tokens) and the evidence's own; ``common``,
        the share of images with a sink, with the exact binomial interval (Clopper-Pearson).
        ``limit`` is the evidence's, ``found`` the verdict, ``expected`` what is expected.
    """
    rows: list[dict[str, Any]] = []
    measured = {row["encoder"]: row for row in verdicts.to_dict("records")}
    for encoder in dict.fromkeys([*measured, *expect]):
        verdict = measured.get(encoder, {})
        shared = {
            "condition": encoder,
            "expected": expect.get(encoder) or "",
            "found": bool(verdict.get("found")),
            "patches": verdict.get("patches", 0),
            "n_images": int(verdict.get("images", 0)),
        }
        number = verdict.get("sinks_per_image", NAN)
        rows.append({**shared, "metric": "sinks", "value": number, "low": NAN, "high": NAN})
        if evidence.empty:
            continue
        for one in evidence[evidence["encoder"] == encoder].to_dict("records"):
            ends = {name: one[name] for name in ("value", "low", "high")}
            if one["question"] == "common" and one["value"] == one["value"]:
                having = binomtest(round(one["value"] * shared["n_images"]), shared["n_images"])
                between = having.proportion_ci(level)
                ends |= {"low": float(between.low), "high": float(between.high)}
            fact = {**shared, "metric": one["question"], **ends, "limit": one["threshold"]}
            rows.append(fact)
            if one["question"] == "few":
                number = {name: shared["patches"] * end for name, end in ends.items()}
                rows.append({**fact, "metric": "sinks per image", **number})
    return pd.DataFrame(rows)
