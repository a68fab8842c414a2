"""Do analyses need more memory for more images, and how long do they take?

Each analysis runs in a process of its own on 200 and on 2,000 images of the training split of a
finished run, one question each; what is told is the peak of that process, and its seconds. A run on
50 images beside them shows what the start and the model alone take.

    python benchmarks/analyses.py [--project .] [--images 200 2000] [--out FILE]
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NODES = {  # analysis: the function that runs it, and its block of parameters
    "attention by layer": ("pipelines.analyze.inside", "attend_by_layer", "layers"),
    "criteria": ("pipelines.analyze.inside", "compare_criteria", "criteria"),
    "functions of heads": ("pipelines.analyze.inside", "tell_functions", "function"),
    "relevance": ("pipelines.analyze.carries", "map_relevance", "relevance"),
    "words": ("pipelines.analyze.carries", "isolate_words", "words"),
}


def one_question_each(records: Path, images: int, folder: Path) -> Path:
    """The first question about each of so many images, as records of a split of their own."""
    from diysink.artifact import write_manifest
    from diysink.records import Record, Records, write_shards

    chosen: dict[str, Record] = {}
    for record in Records(records / "train"):
        if len(chosen) == images:
            break
        image, turns = record.images[0].sha256, record.conversations[:2]
        chosen.setdefault(image, Record(record.id, record.images, turns, record.group))
    (folder / "train").mkdir(parents=True)
    write_shards(folder / "train", list(chosen.values()))
    write_manifest(folder, kind="records")
    return folder


def measure(project: Path, name: str, images: int) -> dict[str, float]:
    """Run one analysis here; its peak in MB and its seconds."""
    import importlib

    import pandas as pd
    import yaml

    module, function, block = NODES[name]
    analyze = yaml.safe_load((project / "conf/base/parameters_analyze.yml").read_text())["analyze"]
    asked = {key: value for key, value in analyze[block].items() if key != "items"}
    analyze[block] = {**asked, "split": "train", "images": images}
    models = project / "data/06_models/finetune"
    with tempfile.TemporaryDirectory() as work:
        kept = project / "data/03_primary/records"
        records = one_question_each(kept, images, Path(work) / "records")
        before = [records, models] + ([pd.DataFrame()] if "carries" in module else [])
        start = time.monotonic()
        getattr(importlib.import_module(module), function)(*before, analyze, 0, work, "cpu")
        seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak_mb": peak, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--images", type=int, nargs=2, default=[200, 2000])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.project, args.one[0], int(args.one[1]))))
        return
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in NODES:
        for images in (50, *args.images):
            command = [sys.executable, __file__, "--project", str(args.project)]
            told = subprocess.run(
                [*command, "--one", name, str(images)], check=True, capture_output=True, text=True
            ).stdout
            found.setdefault(name, {})[str(images)] = json.loads(told.strip().splitlines()[-1])
        few, many = (found[name][str(images)]["peak_mb"] for images in args.images)
        print(f"{name:20} {few:7.0f} MB {many:7.0f} MB  ratio {many / few:.2f}", flush=True)
    result = {
        "analyses": found,
        "machine": platform.machine(),
        "versions": {"python": platform.python_version()},
    }
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
