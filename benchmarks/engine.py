"""What an engine costs and gives: sink statistics on one worker, on two, and over 100,000 images.

| what | how |
|---|---|
| `overhead` | processor time of a shard in one worker over that in this process, at ViT-B shapes |
| `overhead_wall` | the same by the clock, without the start of the worker |
| `two_over_one` | images a second of two workers over one, by the clock, one thread each |
| `memory` | peak of the driver and of a worker at many images over that at few |
| `core_over_data` | seconds of Ray Core over those of Ray Data for the same shards |

Random weights; workers are started and have loaded the model before a clock runs. Ways are
interleaved: in every round each runs once. Wants a quiet machine with two cores.

    python -m benchmarks.engine speed --out benchmarks/results/engine.json
    python -m benchmarks.engine memory --engine local --out benchmarks/results/engine.json
    python -m benchmarks.engine memory --engine ray --out benchmarks/results/engine.json
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.extraction import SHAPES, machine, vision_model
from benchmarks.robustness.engines import write_records
from diysink.artifact import Workspace
from diysink.engine import Engine, LocalEngine, RayEngine, make_engine
from diysink.extraction import ShardSpec, Task, encode_shard, first_image, loaded, run_shards, split
from diysink.miniature.build import image_processor
from diysink.records import Records
from diysink.sinks import Layout

TINY = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 1, "image_size": 16, "patch_size": 8}  # fmt: skip


def encoder(folder: Path, shape: str) -> Path:
    """A vision tower of random weights with its image processor."""
    torch.manual_seed(0)
    vision_model(shape).save_pretrained(folder)
    side = SHAPES[shape]["image_size"]
    processor = image_processor()
    processor.size = {"shortest_edge": side}
    processor.crop_size = {"height": side, "width": side}
    processor.save_pretrained(folder)
    return folder


def shards(records: Path, model: Path, size: int, batch: int) -> Sequence[ShardSpec]:
    """All records in shards, for one thread on the CPU."""
    task = Task(str(records), str(model), device="cpu", batch_size=batch)
    vision, process = loaded(task)
    split_of = Records(records)
    grid = vision.grid(process([first_image(split_of).open()]))
    return split(task, Layout(*grid, vision.dim, replicates=200), len(split_of), size)


def timed(spec: ShardSpec) -> tuple[float, float]:
    """Seconds of the processor and by the clock that one shard takes where it runs."""
    clock, processor = time.perf_counter(), time.process_time()
    encode_shard(spec)
    return time.process_time() - processor, time.perf_counter() - clock


def seconds(engine: Engine, specs: Sequence[ShardSpec]) -> float:
    """By the clock, for all of them; statistics come back and are dropped."""
    start = time.perf_counter()
    for _ in engine.run(encode_shard, specs):
        pass
    return time.perf_counter() - start


def ray_data(specs: Sequence[ShardSpec]) -> float:
    """The same shards by Ray Data, on all cores of the cluster."""
    import ray

    def encoded(row: dict[str, Any]) -> dict[str, Any]:
        return {"statistics": encode_shard(row["item"])}

    start = time.perf_counter()
    data = ray.data.from_items(list(specs), override_num_blocks=len(specs))
    for _ in data.map(encoded, num_cpus=1).iter_rows():
        pass
    return time.perf_counter() - start


def speed(rounds: int, count: int, size: int, home: Path) -> dict[str, Any]:
    """One worker over this process, and two over one, at ViT-B shapes."""
    import ray

    model, records = encoder(home / "base", "base"), write_records(home / "records", count)
    specs = shards(records, model, size, 8)
    torch.set_num_threads(1)
    ways = {
        "here": partial(seconds, LocalEngine()),
        "local, 1": partial(seconds, LocalEngine(1)),
        "local, 2": partial(seconds, LocalEngine(2)),
        "ray, 1": partial(seconds, RayEngine(1)),
        "ray, 2": partial(seconds, RayEngine(2)),
        "ray data": ray_data,
    }
    ray.init("local", num_cpus=2, include_dashboard=False, logging_level="warning")
    ray.data.DataContext.get_current().enable_progress_bars = False
    found: dict[str, list[float]] = {name: [] for name in ways}
    inside: dict[str, list[float]] = {"here": [], "local, 1": [], "ray, 1": []}
    engines = {"here": LocalEngine(), "local, 1": LocalEngine(1), "ray, 1": RayEngine(1)}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            if name == "local, 2":  # from one worker to two: the second loads before the clock runs
                list(LocalEngine(2).run(encode_shard, specs[:4]))
            taken = way(specs)
            if turn:
                found[name].append(taken)
        for name, engine in engines.items():
            [(_, (processor, _))] = engine.run(timed, specs[:1])
            if turn:
                inside[name].append(processor)
    middle = {name: statistics.median(taken) for name, taken in found.items()}
    work = {name: statistics.median(taken) for name, taken in inside.items()}
    ray.shutdown()
    return {
        "overhead": {n: work[f"{n}, 1"] / work["here"] for n in ("local", "ray")},
        "overhead_wall": {n: middle[f"{n}, 1"] / middle["here"] for n in ("local", "ray")},
        "two_over_one": {n: middle[f"{n}, 1"] / middle[f"{n}, 2"] for n in ("local", "ray")},
        "core_over_data": middle["ray, 2"] / middle["ray data"],
        "seconds": middle,
        "rounds": rounds,
        "images": count,
        "records_of_a_shard": size,
    }


def peaks(name: str, count: int) -> dict[str, int]:
    """Peak bytes of the driver and of the largest worker, each in processes of their own."""
    with tempfile.TemporaryDirectory() as home:
        code = [sys.executable, "-m", "benchmarks.engine", "peaks", "--engine", name]
        done = subprocess.run(
            [*code, "--images", str(count), "--home", home], capture_output=True, text=True
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def own_peaks(name: Any, count: int, home: Path) -> dict[str, int]:
    """What `peaks` asks of the process that it starts."""
    from diysink.engine import worker

    SHAPES["tiny"] = TINY
    specs = shards(write_records(home / "records", count), encoder(home / "m", "tiny"), 100, 50)
    before = Path("/proc/self/clear_refs")  # what came before is no peak of the engine's
    before.write_text("5")
    engine = make_engine(name, 2)
    run_shards(specs, Workspace(home / "work", "peaks", 1), engine)
    engine.close()
    status = Path("/proc/self/status").read_text().splitlines()
    own = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    return {"driver": own, "worker": worker.highest_bytes}


def memory(name: str, few: int, many: int) -> dict[str, Any]:
    """Peaks at many images over those at few."""
    small, large = peaks(name, few), peaks(name, many)
    return {
        "images": [few, many],
        "bytes": {"few": small, "many": large},
        **{f"{who}_many_over_few": large[who] / small[who] for who in small},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "memory", "peaks"))
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=32, help="records of a shard")
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.what == "peaks":
        print(json.dumps(own_peaks(args.engine, args.images, args.home)))
        return
    if args.what == "speed":
        with tempfile.TemporaryDirectory() as home:
            result = speed(args.rounds, args.images, args.size, Path(home))
        name = f"speed, shards of {args.size}"
    else:
        result, name = memory(args.engine, args.few, args.many), f"memory, {args.engine}"
    whole = result | machine(cuda=False)
    whole["versions"] |= {"ray": version("ray"), "joblib": version("joblib")}
    print(json.dumps(whole, indent=2))
    if args.out:
        known = json.loads(args.out.read_text()) if args.out.exists() else {}
        args.out.write_text(json.dumps(known | {name: whole}, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
