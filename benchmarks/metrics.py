"""How long do metrics take?

Each metric judges 100,000 predictions (those of `lmms_eval_parity.py`: all kinds of phrasings) and
makes its numbers with 2,000 bootstrap draws over images: CPU seconds of judging, of the sums by
image, and of the draws with the numbers, all on one core. The target is 5 s in all.
`python -m benchmarks.metrics [--predictions 100000] [--out FILE]`
"""

import argparse
import json
import platform
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.lmms_eval_parity import item_of
from benchmarks.parity.cases import Case, cases
from diysink.evaluation.item import Item
from diysink.evaluation.metrics import METRICS
from diysink.resampling.bootstrap import draw_images

DRAWS = 2000
TARGET = 5.0  # seconds


def timed(metric_name: str, mine: list[Case], items: list[Item]) -> dict[str, Any]:
    metric = METRICS[metric_name]
    start = time.process_time()
    judgements = [
        metric.judge(case["prediction"], item) for case, item in zip(mine, items, strict=True)
    ]
    judged = time.process_time()
    rows = pd.DataFrame(
        {
            "image": [item.images[0].sha256 for item in items],
            "unit": [item.unit for item in items],
            "subtask": [item.subtask for item in items],
            "labels": [list(item.labels) for item in items],
            "reference": [case["reference"] for case in mine],
            "prediction": [case["prediction"] for case in mine],
            "guessed": [each.guessed for each in judgements],
            "correct": [each.score for each in judgements],
        }
    )
    ready = time.process_time()
    totals = metric.totals(rows)
    added = time.process_time()
    values = totals.to_numpy()
    drawn = np.concatenate([draw @ values for draw in draw_images(len(values), DRAWS, 0)])
    numbers = metric.numbers(dict(zip(totals.columns, drawn.T, strict=True)))
    done = time.process_time()
    seconds = {"judge": judged - start, "sums": added - ready, "draws": done - added}
    return {
        **{name: round(value, 3) for name, value in seconds.items()},
        "all": round(sum(seconds.values()), 3),
        "images": len(totals),
        "numbers": len(numbers),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--predictions", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=20_000, help="of each benchmark")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    seconds = {}
    made = cases(args.predictions, seed=1)
    for benchmark, each in groupby(made, key=lambda case: case["benchmark"]):
        mine = [case | {"image": case["image"] % args.images} for case in each]
        items = [item_of(case) for case in mine]
        seconds[benchmark] = {"metric": mine[0]["metric"], **timed(mine[0]["metric"], mine, items)}
    result = {
        "predictions": args.predictions,
        "draws": DRAWS,
        "cpu_seconds": seconds,
        "slowest": max(each["all"] for each in seconds.values()),
        "target": TARGET,
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
    }
    print(json.dumps(result, indent=2))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
