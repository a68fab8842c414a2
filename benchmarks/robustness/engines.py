"""Do sink statistics stay the same to the last bit, whatever dies while Ray computes them?

A cluster of three nodes (`ray.cluster_utils`) on this machine, and a driver in its own process.
While the driver works, a worker, a node or the driver is killed (SIGKILL), at random; a node is
replaced, and a driver is started again and goes on. Every run must end with the digest that one
process without an engine gives. Two workers of joblib's loky and a local Ray are compared as well.

    python -m benchmarks.robustness.engines --out benchmarks/results/robustness-engines.json

The exit code is 1 if a digest differs, a driver fails or hangs.
"""

import argparse
import io
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.robustness.result import tell
from diysink.artifact import Workspace, digest_bytes
from diysink.engine import Engine, LocalEngine, RayEngine
from diysink.extraction import ShardSpec, Task, run_shards, split
from diysink.miniature.world import render, sample_scene
from diysink.records import ImageFile, Record, Records, write_shards
from diysink.sinks import Layout

ENCODER = Path(__file__).parents[2] / "src/diysink/miniature/weights/encoder"
KINDS = ("worker", "node", "driver")
HANGS = 300.0  # seconds, beside whatever else this machine does
EACH = 3  # kills of one run, at most


def specs_of(records: Path, size: int) -> Sequence[ShardSpec]:
    """Shards of the records for the miniature's encoder."""
    task = Task(str(records), str(ENCODER), device="cpu", batch_size=16)
    return split(task, Layout(6, 6, 96, replicates=20), len(Records(records)), size)


def drive(records: Path, size: int, work: Path, address: str) -> None:
    """What the driver's process does."""
    engine = RayEngine(address=address)
    digest = run_shards(specs_of(records, size), Workspace(work, "killed", 1), engine).digest
    (work / "digest").write_text(digest)


def at_work() -> list[int]:
    """Workers of this process's cluster that are at a task."""
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if _name(child.pid).startswith(b"ray::called")]


def _name(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Campaign:
    """A cluster, and drivers on it that are not spared."""

    def __init__(self, records: Path, size: int, home: Path) -> None:
        from ray.cluster_utils import Cluster

        os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (Ray's spelling)
        self.records, self.size, self.home = records, size, home
        self.shards = len(specs_of(records, size))
        own = {"num_cpus": 1, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=own)
        self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(2)]
        self.killed: Counter[str] = Counter()
        self.driver: subprocess.Popen[bytes]
        self.orphans = False  # whether a node died since the driver began

    def close(self) -> None:
        """End the cluster."""
        self.cluster.shutdown()

    def run(self, name: str, kinds: Sequence[str], dice: random.Random) -> str:
        """The digest of a run during which these are killed, one after another."""
        work = self.home / name
        self._start(work)
        for number, kind in enumerate(kinds, 1):
            share = (number - 0.5 + dice.random() / 2) / (len(kinds) + 1)
            self._until(lambda s=share: self._finished(work) >= s * self.shards, work)
            match kind:
                case "worker":
                    self._until(at_work, work)
                    os.kill(dice.choice(at_work()), signal.SIGKILL)
                case "node":
                    node = self.nodes.pop(dice.randrange(len(self.nodes)))
                    self.cluster.remove_node(node, allow_graceful=False)
                    self.nodes.append(self.cluster.add_node(num_cpus=1))
                    self.orphans = True
                case _:
                    self.driver.kill()
                    self.driver.wait()
                    self._start(work)
            self.killed[kind] += 1
        self._until((work / "digest").is_file, work)
        self.driver.wait(HANGS)
        return (work / "digest").read_text()

    def _start(self, work: Path) -> None:
        work.mkdir(exist_ok=True)
        self.orphans = False
        own = [str(self.records), self.size, str(work), self.cluster.address]
        with (work / "log").open("ab") as log:
            self.driver = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.robustness.engines", "--drive", json.dumps(own)],
                stdout=log, stderr=log,
            )  # fmt: skip

    def _finished(self, work: Path) -> int:
        names = [path.name for path in work.glob("killed/*/*.done.json")]
        return sum(not name.startswith(".") for name in names)

    def _until(self, condition: Any, work: Path) -> None:
        ends = time.monotonic() + HANGS
        while not condition():
            ended = self.driver.poll() not in (None, 0)
            if (
                ended and self.orphans
            ):  # all are on one machine: the dead node may have been its own
                self.killed["driver, with its node"] += 1
                self._start(work)
            elif ended or time.monotonic() > ends:
                raise RuntimeError(f"ended or hangs: {(work / 'log').read_text()[:6000]}")
            time.sleep(0.01)


def write_records(folder: Path, count: int) -> Path:
    """Records of the miniature's world, one image each; every 500th image comes again."""
    dice = np.random.default_rng(0)
    images = []
    for _ in range(min(count, 500)):
        file = io.BytesIO()
        render(sample_scene(dice), dice).save(file, "PNG")
        data = file.getvalue()
        images.append(ImageFile(data, digest_bytes(data), "PNG", 48, 48))
    records = (Record(f"r{n}", (images[n % len(images)],), ()) for n in range(count))
    write_shards(folder, records)
    return folder


def campaign(kills: int, seed: int, images: int, size: int, home: Path) -> dict[str, Any]:
    """Kill so many times; what every run gave."""
    dice = random.Random(seed)
    records = write_records(home / "records", images)
    specs = specs_of(records, size)

    def digest(name: str, engine: Engine) -> str:
        try:
            return run_shards(specs, Workspace(home / name, name, 1), engine).digest
        finally:
            engine.close()

    digests = {
        "this process": digest("here", LocalEngine()),
        "two local processes": digest("local", LocalEngine(2)),
        "Ray on this machine": digest("ray", RayEngine(2)),
    }
    one = Campaign(records, size, home)
    try:
        digests["three nodes"] = one.run("unbroken", (), dice)
        left = [dice.choice(KINDS) for _ in range(kills - len(KINDS))] + list(KINDS)
        dice.shuffle(left)
        for first in range(0, kills, EACH):
            kinds = left[first : first + EACH]
            digests[f"run {first // EACH}: {', '.join(kinds)}"] = one.run(
                f"run{first // EACH}", kinds, dice
            )
    finally:
        one.close()
    return {
        "kills": dict(one.killed),
        "shards": len(specs),
        "images": images,
        "digests": digests,
        "equal": len(set(digests.values())) == 1,
        "seed": seed,
        "versions": {"ray": version("ray"), "joblib": version("joblib")}
        | {"torch": version("torch"), "python": platform.python_version()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=2400)
    parser.add_argument("--size", type=int, default=40)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.drive:
        records, size, work, address = json.loads(args.drive)
        drive(Path(records), size, Path(work), address)
        return 0
    with tempfile.TemporaryDirectory() as home:
        result = campaign(args.kills, args.seed, args.images, args.size, Path(home))
    return tell(result, [] if result["equal"] else ["digests differ"], args.out)


if __name__ == "__main__":
    raise SystemExit(main())
