"""Records what a search over settings found, with every trial, for the documentation.

After `kedro run` and `kedro run --pipelines tune`:
`python -m benchmarks.tune [--data data] [--out benchmarks/results/tune.json]`
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.extraction import machine


def trials(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The trials of one study: what was tried, and the share of right answers."""
    found = []
    for number, rows in table.groupby("trial"):
        values = dict(zip(rows["parameter"], rows["setting"], strict=True))
        first = rows.iloc[0]
        found.append({"trial": int(number), "value": first["value"],
                      "seconds": round(first["seconds"], 2), "values": values})  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tune.json"))
    given = parser.parse_args()
    folder = given.data / "08_reporting/tuning"
    result = json.loads((folder / "results.json").read_text())
    table = pd.read_parquet(folder / "trials.parquet")
    for name, study in result["studies"].items():
        study["each"] = trials(table[table["study"] == name])
    result |= machine(False)
    given.out.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    print(f"{len(result['studies'])} studies in {given.out}")


if __name__ == "__main__":
    main()
