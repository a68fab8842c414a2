"""What does a stage say of files that were damaged before it reads them, and of disks that refuse?

In a small finished project, one file is damaged at a random place (a flipped bit, a cut, zeros, or
nothing is left) and the stage that reads it is run. It must end with exit status 1 and name the
file, or, where the damage means nothing (a bit in white space), do what it did before. Then the
same on a full disk and on one that is read-only, where the machine lets one be made.

    python -m benchmarks.robustness.damage --count 60 --seed 0

The exit code is 1 if any damage went unnoticed, unnamed, or stopped a later run.
"""

import argparse
import os
import platform
import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.robustness.result import tell
from benchmarks.robustness.runs import Run, copied, make_project, results

HANGS = 600.0
# What is damaged, and the stage that reads it.
FILES = {
    "shard": ("data/03_primary/records/*/part-*.parquet", "sinks"),
    "manifest": ("data/03_primary/records/**/manifest.json", "sinks"),
    "profile": ("data/04_feature/sinks/induced/*", "align"),
    "connector": ("data/06_models/align/*/seed0/connector.safetensors", "finetune"),
    "model": ("data/06_models/finetune/*/seed0/*", "evaluate"),
    "manifest of models": ("data/06_models/finetune/manifest.json", "evaluate"),
    "selector": ("data/06_models/reweight/*/seed0/*", "evaluate"),
    "predictions": ("data/07_model_output/predictions.parquet", "register"),
    "candidate": ("data/06_models/candidate/*.*", "register"),
    "table of the report": ("data/08_reporting/sinks/[evh]*.parquet", "report"),
    "results": ("data/08_reporting/results.json", "report"),
    "database": ("mlruns/mlflow.db", "report"),
}
# A stage that makes what it reads has to start behind it.
FROM = {"candidate": "register_candidate"}


def flip(data: bytearray, draw: random.Random) -> bytes:
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def cut(data: bytearray, draw: random.Random) -> bytes:
    return bytes(data[: draw.randrange(len(data))])


def zeros(data: bytearray, draw: random.Random) -> bytes:
    start = draw.randrange(len(data))
    size = min(len(data) - start, 4096)
    data[start : start + size] = bytes(size)
    return bytes(data)


def nothing(data: bytearray, draw: random.Random) -> bytes:
    return b""


DAMAGES: tuple[Callable[[bytearray, random.Random], bytes], ...] = (flip, cut, zeros, nothing)


def damage(
    path: Path, how: Callable[[bytearray, random.Random], bytes], draw: random.Random
) -> bool:
    """Damage a file; whether its bytes are others now."""
    before = path.read_bytes()
    after = how(bytearray(before), draw)
    path.unlink()  # it may be linked elsewhere
    path.write_bytes(after)
    return after != before


@contextmanager
def mounted(target: Path, options: str) -> Iterator[bool]:
    """A small disk of its own at ``target``; False where this machine allows none."""
    target.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", target], capture_output=True
    )
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", target], check=True)


class Campaign:
    """Damages, and what stages said of them."""

    def __init__(self, whole: Path, home: Path, seed: int) -> None:
        self.whole, self.home = whole, home
        self.draw = random.Random(seed)
        self.outcomes: dict[str, Counter[str]] = {}
        self.problems: list[str] = []

    def file(self, number: int) -> None:
        """Damage one file; run the stage that reads it; put the file right; run it again."""
        draw = self.draw
        kind = draw.choice(sorted(FILES))
        pattern, stage = FILES[kind]
        how = draw.choice(DAMAGES)
        project = copied(self.whole, self.home / f"damage-{number}")
        path = draw.choice(sorted(p for p in project.glob(pattern) if p.is_file()))
        name = path.relative_to(project).as_posix()
        changed = damage(path, how, draw)
        code, said = self._run(project, stage, kind)
        counted = self.outcomes.setdefault(kind, Counter())
        if code == 0 and kind != "database":
            before, after = results(self.whole), results(project)
            inside = name.removeprefix("data/")
            same = not changed or (before | {inside: ""}) == (after | {inside: ""})
            counted["meant nothing" if same else "UNNOTICED"] += 1
            if not same:
                self.problems.append(f"{name}, {how.__name__}: unnoticed, and other results")
        elif code == 0:
            counted["meant nothing"] += 1
        # A manifest with another digest in it is told by the file that does not fit it.
        elif code == 1 and (
            path.name in said or f"the stage that makes {path.parent.name}" in said
        ):
            counted["refused by name"] += 1
        else:
            counted["UNNAMED"] += 1
            self.problems.append(f"{name}, {how.__name__}: exit status {code}\n{said[-1500:]}")
        shutil.copy2(self.whole / name, path)
        if code != 0 and (again := self._run(project, stage, kind))[0] != 0:
            self.problems.append(f"{name}: a later run fails\n{again[1][-1500:]}")
        shutil.rmtree(project)

    def disk(self, stage: str, options: str, said_so: str) -> None:
        """A stage whose ``data`` lies on a disk that refuses; then on one that does not."""
        counted = self.outcomes.setdefault(f"disk: {said_so}", Counter())
        project = copied(self.whole, self.home / f"disk-{stage}-{options.partition('=')[0]}")
        data = project / "data"
        kept = self.home / "kept"
        data.rename(kept)
        with mounted(data, options) as possible:
            if not possible:
                counted["not possible on this machine"] += 1
            else:
                shutil.copytree(kept, data, dirs_exist_ok=True)
                fill(data, said_so)
                code, said = self._run(project, stage, "")
                named = said_so in said
                counted["refused by name" if code == 1 and named else "UNNAMED"] += 1
                if code != 1 or not named:
                    self.problems.append(f"{stage}, {said_so}: exit status {code}\n{said[-1500:]}")
                free(data)
                if (again := self._run(project, stage, ""))[0] != 0:
                    self.problems.append(f"{stage}, after {said_so}: fails\n{again[1][-1500:]}")
        shutil.rmtree(kept)
        shutil.rmtree(project)

    def _run(self, project: Path, stage: str, kind: str) -> tuple[int | None, str]:
        nodes = [FROM[kind]] if kind in FROM else None
        run = Run(project, [stage], from_nodes=nodes)
        code = run.wait(HANGS)
        return code, run.output.read_text(errors="replace").replace("\n", "")


def fill(disk: Path, how: str) -> None:
    """Leave no space on a disk, or make it read-only."""
    if how.startswith("Read-only"):
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        return
    space = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with (disk / "filler").open("wb") as file:
        file.write(bytes(max(0, space - 65536)))


def free(disk: Path) -> None:
    """Undo `fill`."""
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    (disk / "filler").unlink(missing_ok=True)


def run(count: int, seed: int) -> dict[str, Any]:
    """A campaign of ``count`` damaged files, and of disks that refuse."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        whole = make_project(home / "whole")
        first = Run(whole, ["__default__"])
        if (code := first.wait(HANGS)) != 0:
            raise RuntimeError(f"the run fails undamaged ({code}): {first.output.read_text()}")
        campaign = Campaign(whole, home, seed)
        for number in range(count):
            campaign.file(number)
            print(f"{number + 1} of {count}, {len(campaign.problems)} problems", flush=True)
        for stage in ("prepare", "align", "evaluate"):
            campaign.disk(stage, "size=96m", "No space left on device")
        campaign.disk("align", "size=128m", "Read-only file system")
    return {
        "files": count,
        "seed": seed,
        "outcomes": {kind: dict(counted) for kind, counted in sorted(campaign.outcomes.items())},
        "problems": campaign.problems,
        "seconds": round(time.monotonic() - start),
        "machine": {"cores": os.cpu_count(), "platform": platform.platform()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    args = parser.parse_args()
    result = run(args.count, args.seed)
    return tell(result, result["problems"], args.out)


if __name__ == "__main__":
    raise SystemExit(main())
