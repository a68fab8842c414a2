"""Does anything get lost or wrong when runs are interrupted, killed, or started twice?

Every stage, in a small project: a run gets a signal (TERM, INT, HUP, KILL) at a random moment,
by the clock or at a random change of a folder (the last ones, of clearing up, more often); some
have a second run beside them, the same or with another seed. Runs follow until one ends by itself.
Then all that it published must equal an unbroken run's, byte for byte; MLflow must show no run as
running; no temporary file and no unfinished work may be left; no run may hang.

    python -m benchmarks.robustness.kills --count 200 --seed 0

The exit code is 1 if anything was lost, wrong or hanging.
"""

import argparse
import os
import platform
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.robustness.result import tell
from benchmarks.robustness.runs import Run, copied, leftovers, make_project, results, statuses

STAGES = [
    "prepare",
    "sinks",
    "align",
    "finetune",
    "reweight",
    "evaluate",
    "analyze",
    "register",
    "report",
    "promote",
]
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL]
HANGS = 900.0  # seconds, beside whatever else this machine does
LATE, TWO = 0.25, 0.2  # shares of kills among the last changes, and of kills with a run beside
MOST = 6  # kills of one stage before it may end


class Stage:
    """One stage: the project before it, and what an unbroken run makes of that."""

    def __init__(self, name: str, before: Path, home: Path) -> None:
        self.name, self.before = name, before
        self.after = copied(before, home / f"after-{name}")
        start = time.monotonic()
        run = Run(self.after, [name])
        if (code := run.wait(HANGS)) != 0:
            raise RuntimeError(f"{name} fails unbroken ({code}): {run.output.read_text()[-2000:]}")
        self.seconds = time.monotonic() - start
        self.changes = run.changes.value
        self.results = results(self.after)


class Campaign:
    """Kills, and what became of them."""

    def __init__(self, stages: list[Stage], home: Path, seed: int) -> None:
        self.stages, self.home = stages, home
        self.draw = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.problems: list[str] = []
        self.completions = self.pairs = 0

    def stage(self, number: int, kills: int) -> int:
        """Kill runs of a random stage until ``kills`` are spent or it is to end; those spent."""
        draw = self.draw
        stage = draw.choice(self.stages)
        project = copied(stage.before, self.home / f"project-{number}")
        spent = 0
        for _ in range(draw.randint(1, min(MOST, kills))):
            spent += 1
            if not self._killed(stage, project):
                break
        self._complete(stage, project, f"{number} ({stage.name})")
        shutil.rmtree(project)
        return spent

    def _killed(self, stage: Stage, project: Path) -> bool:
        """One run with a signal; whether it ended before its time."""
        draw = self.draw
        by = draw.choice(SIGNALS)
        at, after = None, 0.0
        if draw.random() < LATE:
            at = max(1, stage.changes - draw.randint(0, max(1, stage.changes // 4)))
        elif draw.random() < 0.5:
            at = draw.randint(1, max(1, stage.changes))
        else:
            after = draw.uniform(0, 1.2 * stage.seconds)
        run = Run(project, [stage.name], at=at, by=by)
        other = None
        if draw.random() < TWO:
            self.pairs += 1
            other = Run(project, [stage.name])
        if at is None:
            time.sleep(after)
            run.signal(by)
        code = run.wait(HANGS)
        moment = "by the clock" if at is None else "at a change"
        self.kills[f"{stage.name}, {by.name}, {moment}"] += 1
        expected = {-int(by)} if by == signal.SIGKILL else {128 + int(by), -int(by)}
        if code not in expected | {0}:
            self._problem(f"{stage.name}: {by.name} gave exit status {code}", run)
        self.ended["ended before it came" if code == 0 else "interrupted"] += 1
        if other is not None and (code := other.wait(HANGS)) != 0:
            self._problem(f"{stage.name}: the run beside gave exit status {code}", other)
        return code != 0

    def _complete(self, stage: Stage, project: Path, name: str) -> None:
        run = Run(project, [stage.name])
        if (code := run.wait(HANGS)) != 0:
            self._problem(f"{name}: the run after gave exit status {code}", run)
            return
        self.completions += 1
        found = results(project)
        if found != stage.results:
            names = found.keys() | stage.results.keys()
            wrong = sorted(name for name in names if found.get(name) != stage.results.get(name))
            self._problem(f"{name}: other than unbroken: {wrong[:5]}", run)
        if "RUNNING" in (seen := statuses(project)):
            self._problem(f"{name}: runs are {seen}", run)
        if left := leftovers(project):
            self._problem(f"{name}: left over: {left[:5]}", run)

    def _problem(self, what: str, run: Run) -> None:
        said = run.output.read_text(errors="replace")[-1500:] if run.output.exists() else ""
        self.problems.append(f"{what}\n{said}")
        print(f"PROBLEM {what}\n{said}", flush=True)


def run(count: int, seed: int, minutes: float = 600.0) -> dict[str, Any]:
    """A campaign of ``count`` kills, or of those that ``minutes`` allow; figures and problems."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        project = make_project(home / "nothing")
        stages = []
        for name in STAGES:
            stages.append(Stage(name, project, home))
            project = stages[-1].after
        campaign = Campaign(stages, home, seed)
        spent = number = 0
        while spent < count and time.monotonic() - start < minutes * 60:
            spent += campaign.stage(number, count - spent)
            number += 1
            print(f"{spent} of {count} kills, {len(campaign.problems)} problems", flush=True)
    return {
        "kills": spent,
        "seed": seed,
        "completed after": campaign.completions,
        "with a run beside": campaign.pairs,
        "ended": dict(campaign.ended),
        "by": dict(sorted(campaign.kills.items())),
        "problems": campaign.problems,
        "seconds": round(time.monotonic() - start),
        "machine": {"cores": os.cpu_count(), "platform": platform.platform()},
        "versions": {n: version(n) for n in ("diysink", "torch", "lightning", "kedro", "mlflow")},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no kill after these")
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    args = parser.parse_args()
    result = run(args.count, args.seed, args.minutes)
    return tell(result, result["problems"], args.out)


if __name__ == "__main__":
    raise SystemExit(main())
