"""Records the dose-responses of a run, so that reports of other runs can show them.

Also draws them for the documentation. After `kedro run --env dose`:
`python benchmarks/dose.py [--data data] [--out benchmarks/results/dose.json]`
"""

import argparse
import json
import math
import platform
from pathlib import Path

import pandas as pd
import torch

from diysink.report.figures import draw_dose, standalone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/dose.json"))
    parser.add_argument("--images", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    table = pd.read_parquet(given.data / "08_reporting/dose.parquet")
    if table.empty or (table["recorded"] != "").any():
        parser.error("that run had no doses of its own: kedro run --env dose has some")
    run = json.loads((given.data / "08_reporting/runs/dose.json").read_text())
    table["recorded"] = run["code"]["revision"][:10]
    rows = [
        {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
        for row in table.to_dict("records")
    ]
    result = {
        "machine": f"{platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "rows": rows,
    }
    for name, dose in table.groupby("dose", sort=False):
        figure = standalone(draw_dose(dose))
        (given.images / f"dose-{name}.svg").write_text(figure)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{len(rows)} rows of {table['dose'].nunique()} doses in {given.out}")


if __name__ == "__main__":
    main()
