"""How much sooner are trainings done side by side than one after another?

Stages 1 and 2 and the selectors of a prepared project (`kedro run --pipelines prepare,sinks`), with
fewer steps than a run has: one process after another, then `auto`, interleaved; the ratio of the
medians. Both ways give the same files, and that is checked.
`python benchmarks/trainings.py [--data data] [--steps 40] [--out FILE]`
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from kedro.config import OmegaConfigLoader

from diysink.artifact import read_manifest
from pipelines import settings
from pipelines.align.nodes import align_connectors
from pipelines.finetune.nodes import finetune_models
from pipelines.parameters import build
from pipelines.reweight.nodes import train_reweighting


def stages(data: Path, steps: int, num_processes: Any, work: str) -> tuple[dict[str, float], Any]:
    """Seconds of each stage, and the digests of all files."""
    loader = OmegaConfigLoader(str(settings.PROJECT / "conf"), **settings.CONFIG_LOADER_ARGS)
    parameters = loader["parameters"]
    for stage in ("align", "finetune"):
        parameters[stage]["max_steps"] = steps
    parameters["reweight"]["epochs"] = max(1, steps // 6)
    for stage in ("align", "finetune", "reweight"):
        parameters[stage]["trainer"]["enable_progress_bar"] = False
    s = build(parameters, [])
    records, profiles = data / "03_primary/records", data / "04_feature/sinks"
    last = (list(s["seeds"]), num_processes, work)
    seconds, start = {}, time.perf_counter()
    connectors, _ = align_connectors(records, profiles, s["model"], s["align"], *last)
    seconds["align"] = time.perf_counter() - start
    models, _, _ = finetune_models(
        records, profiles, connectors, s["model"], s["finetune"], s["align"], *last
    )
    seconds["finetune"] = time.perf_counter() - start - seconds["align"]
    selectors, _ = train_reweighting(records, models, s["model"], s["reweight"], *last)
    seconds["all"] = time.perf_counter() - start
    seconds["reweight"] = seconds["all"] - seconds["align"] - seconds["finetune"]
    return seconds, [read_manifest(folder)["files"] for folder in (connectors, models, selectors)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    measured: dict[str, list[dict[str, float]]] = {"one": [], "auto": []}
    made = []
    for _ in range(args.repeats):
        for name, processes in (("one", 1), ("auto", "auto")):
            with tempfile.TemporaryDirectory() as work:
                seconds, files = stages(args.data.absolute(), args.steps, processes, work)
            measured[name].append(seconds)
            made.append(files)
    assert all(files == made[0] for files in made)
    medians = {
        name: {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
        for name, runs in measured.items()
    }
    result = {
        "ratio_one_to_auto": {
            stage: round(medians["one"][stage] / medians["auto"][stage], 2)
            for stage in medians["one"]
        },
        "seconds": {n: {s: round(v, 1) for s, v in m.items()} for n, m in medians.items()},
        "steps": args.steps,
        "repeats": args.repeats,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
    }
    print(json.dumps(result, indent=2))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
