"""Do our metrics judge as lmms-eval does, and if not, why not?

Some thousands of predictions of each benchmark are judged by both sides: references, near misses,
phrases, refusals, other scripts. lmms-eval runs in an environment of its own, in a temporary folder
(no torch: `pip install --no-deps`, and the packages that the judging functions import). Every
difference has to be of a known kind (`parity/kinds.py`), else the run fails. Where both judge all
cases of a unit alike, the benchmark's numbers have to be the same as well.
`python -m benchmarks.lmms_eval_parity [--cases 3000] [--python OTHER] [--out FILE]`; `--python` is
an environment that has lmms-eval already.
"""

import argparse
import io
import json
import math
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.parity.cases import BENCHMARKS, Case, cases
from benchmarks.parity.kinds import Difference, kind_of
from diysink.evaluation.item import Item
from diysink.evaluation.metrics import METRICS, Judgement
from diysink.evaluation.metrics.mathvista import by_rules
from diysink.records import ImageFile, Turn

LMMS_EVAL = "lmms-eval==0.7.3"
PACKAGES = (
    *("loguru", "numpy", "pandas", "pyyaml", "requests", "aiohttp", "pillow", "sacrebleu"),
    "python-Levenshtein",
)
THEIRS = Path(__file__).parent / "parity" / "theirs.py"


def environment(folder: Path) -> Path:
    """A fresh environment with lmms-eval's judging functions, without torch."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, *PACKAGES], check=True)
    subprocess.run([*install, "--no-deps", LMMS_EVAL], check=True)
    return python


@cache
def picture(number: int) -> ImageFile:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (number % 256, number // 256 % 256, number // 65536)).save(
        file, "PNG"
    )
    return ImageFile.of(file.getvalue())


def item_of(case: Case) -> Item:
    return Item(
        id=f"{case['benchmark']}-{case['number']}",
        images=(picture(case["image"]),),
        conversations=(Turn("human", "<image>\nWhich?"), Turn("gpt", case["reference"])),
        subtask=case["subtask"],
        answers=tuple(case["answers"]),
        options=tuple(case["options"]),
        unit=case["unit"],
        details=case["details"],
    )


def reply(case: Case, item: Item) -> str | None:
    """What the language model of lmms-eval's MathVista "answers": what our rules extract."""
    if case["benchmark"] != "mathvista":
        return None
    found = by_rules(case["prediction"], item)
    return found if found is not None else case["prediction"] if item.options else ""


def asked(by_benchmark: dict[str, list[Case]], python: Path, folder: Path, *, numbers: bool) -> Any:
    """lmms-eval's judgements, and its numbers of the cases that are judged alike."""
    questions, answers = folder / "cases.json", folder / "theirs.json"
    questions.write_text(json.dumps({"cases": by_benchmark, "numbers": numbers}))
    subprocess.run([python, THEIRS, questions, answers], check=True)
    return json.loads(answers.read_text())


def compare(
    benchmark: str, mine: list[Case], ours: list[Judgement], theirs: list[dict[str, Any]]
) -> dict[str, Any]:
    """Shares of equal judgements, and the kinds of differences; marks the cases that are alike."""
    kinds: Counter[str | None] = Counter()
    examples: dict[str | None, dict[str, Any]] = {}
    for case, our, their in zip(mine, ours, theirs, strict=True):
        # A drawn letter is not compared: both have to see that there is none.
        guess = our.guessed and benchmark == "mmmu"
        alike = their["parsed"] is None if guess else math.isclose(our.score, their["score"])
        case["same"] = (
            alike and not guess and (benchmark != "pope" or our.parsed == their["parsed"])
        )
        if alike:
            continue
        kind = kind_of(benchmark, Difference(case, our.parsed, their["parsed"]))
        kinds[kind] += 1
        examples.setdefault(
            kind,
            {
                "prediction": case["prediction"],
                "reference": case["reference"],
                "ours": our.score,
                "lmms-eval": their["score"],
            },
        )
    different = sum(kinds.values())
    return {
        "cases": len(mine),
        "right": round(sum(our.score for our in ours) / len(mine), 4),
        "equal": round(1 - different / len(mine), 4),
        "unexplained": kinds.pop(None, 0),
        **({"unexplained_example": examples[None]} if None in examples else {}),
        "differences": [
            {"rule": kind, "cases": count, "example": examples[kind]}
            for kind, count in kinds.most_common()
        ],
    }


def whole_units(mine: list[Case]) -> None:
    """Of what is judged as a whole, all cases are alike or none."""
    broken = {case["unit"] for case in mine if case["unit"] and not case["same"]}
    for case in mine:
        case["same"] = case["same"] and case["unit"] not in broken


def our_numbers(mine: list[Case], ours: list[Judgement]) -> dict[str, float]:
    metric = METRICS[mine[0]["metric"]]
    rows = pd.DataFrame(
        [
            {
                "image": f"{case['image']}",
                "unit": case["unit"],
                "subtask": case["subtask"],
                "labels": case["details"].get("source"),
                "reference": case["reference"],
                "prediction": case["prediction"],
                "guessed": our.guessed,
                "correct": our.score,
            }
            for case, our in zip(mine, ours, strict=True)
            if case["same"]
        ]
    )
    totals = metric.totals(rows)
    sums = {column: np.asarray(totals[column].sum(), float) for column in totals}
    return {name: float(value) for name, value in metric.numbers(sums).items()}


def same_numbers(ours: dict[str, float], theirs: dict[str, float]) -> dict[str, Any]:
    """Their numbers beside ours of the same name (or the only accuracy there is)."""
    alone = next(iter(ours.values()))
    return {
        name: {"ours": round(mine, 6), "lmms-eval": round(value, 6)}
        for name, value in theirs.items()
        for mine in [ours.get(name, alone)]
    }


def unequal(numbers: dict[str, dict[str, Any]]) -> list[str]:
    """Numbers that differ, but for POPE's yes-ratio, which lmms-eval takes from the truth."""
    return [
        f"{benchmark}: {name}"
        for benchmark, each in numbers.items()
        for name, pair in each.items()
        if not math.isclose(pair["ours"], pair["lmms-eval"], abs_tol=2e-6)
        and (benchmark, name) != ("pope", "yes ratio")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=3000, help="of each benchmark")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--python", type=Path, help="of an environment that has lmms-eval")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    mine: dict[str, list[Case]] = {name: [] for name in BENCHMARKS}
    ours: dict[str, list[Judgement]] = {name: [] for name in BENCHMARKS}
    for case in cases(args.cases, args.seed):
        item = item_of(case)
        ours[case["benchmark"]].append(METRICS[case["metric"]].judge(case["prediction"], item))
        mine[case["benchmark"]].append(case | {"reply": reply(case, item), "same": True})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        python = args.python or environment(folder / "environment")
        theirs = asked(mine, python, folder, numbers=False)
        judged = {
            name: compare(name, mine[name], ours[name], theirs["results"][name]) for name in mine
        }
        for each in mine.values():
            whole_units(each)
        again = asked(mine, python, folder, numbers=True)
    numbers = {
        name: same_numbers(our_numbers(mine[name], ours[name]), again["numbers"][name])
        for name in mine
    }
    scores = [each["score"] for each in theirs["results"]["gqa"]]
    numbers["gqa, all cases"] = same_numbers(
        our_numbers([case | {"same": True} for case in mine["gqa"]], ours["gqa"]),
        {"accuracy (lmms-eval)": sum(scores) / len(scores)},
    )
    result = {
        "cases_of_each": args.cases,
        "seed": args.seed,
        "equal": round(
            sum(each["equal"] * each["cases"] for each in judged.values())
            / sum(each["cases"] for each in judged.values()),
            4,
        ),
        "unexplained": sum(each["unexplained"] for each in judged.values()),
        "benchmarks": judged,
        "numbers_where_judged_alike": numbers,
        "versions": theirs["versions"],
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    wrong = unequal(numbers)
    if result["unexplained"] or wrong:
        sys.exit(f"unexplained: {result['unexplained']} judgements, numbers {wrong}")


if __name__ == "__main__":
    main()
