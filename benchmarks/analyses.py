"""Do analyses need more memory for more images, and how long do they take?

Each analysis runs in a process of its own on 200 and on 2,000 images of the training split of a
finished run, one question each. The result is the peak of that process, and its seconds. A run on
50 images beside them shows what the start and the model alone take. The records are made before, in
another process, so that making them is no part of the peak.

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
from importlib.metadata import version
from pathlib import Path


def one_question_each(records: Path, images: int, folder: Path) -> None:
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


def measure(project: Path, name: str, images: int, records: Path) -> dict[str, float]:
    """Run one analysis here; its peak in MB and its seconds."""
    from diysink.analysis import ANALYSES, Context
    from diysink.analysis.diysink_subject import DIYSinkSubject
    from diysink.analysis.run import analyze
    from diysink.model import load
    from diysink.records import Records

    kind = ANALYSES[name]
    settings = kind.settings_class(max_samples=images)
    start = time.monotonic()
    folder = project / "data/06_models/finetune" / settings.connector / f"seed{settings.seed}"
    generator = load(folder, device="cpu")
    context = Context(labels=labels_of(records), tokenizer=generator.chat_encoder.tokenizer)
    split = Records(records / "train")
    analyze(DIYSinkSubject(generator), split, {name: kind(settings, context)}, batch_size=50)
    seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak_mb": peak, "seconds": seconds}


def labels_of(records: Path):  # type: ignore[no-untyped-def]
    """A random label for each image: probes train as long on it, and read nothing."""
    import numpy as np
    import pandas as pd

    from diysink.records import Records

    images = [record.images[0].sha256 for record in Records(records / "train")]
    drawn = np.random.default_rng(0).choice(["day", "night"], len(images))
    nothing = dict.fromkeys(("top", "left", "bottom", "right"), np.nan)
    return pd.DataFrame(
        {"image": images, "attribute": "light", "scope": "global", "label": drawn, **nothing}
    )


def names() -> list[str]:
    """The analyses that look into a model."""
    from diysink.analysis import ANALYSES

    return [name for name, kind in ANALYSES.items() if kind.unit is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--images", type=int, nargs=2, default=[200, 2000])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make:
        records = args.project / "data/03_primary/records"
        one_question_each(records, int(args.make[0]), Path(args.make[1]))
        return
    if args.one:
        name, images, folder = args.one
        print(json.dumps(measure(args.project, name, int(images), Path(folder))))
        return

    def here(*rest: str) -> str:
        command = [sys.executable, __file__, "--project", str(args.project), *rest]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    found: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        numbers = (50, *args.images)
        for images in numbers:
            here("--make", str(images), f"{folder}/{images}")
        for name in names():
            for images in numbers:
                line = here("--one", name, str(images), f"{folder}/{images}")
                found.setdefault(name, {})[str(images)] = json.loads(line.splitlines()[-1])
            few, many = (found[name][str(images)]["peak_mb"] for images in args.images)
            seconds = found[name][str(args.images[1])]["seconds"]
            print(
                f"{name:20} {few:7.0f} MB {many:7.0f} MB  ratio {many / few:.2f}  {seconds:6.1f} s",
                flush=True,
            )
    result = {
        "analyses": found,
        "machine": platform.machine(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "pandas", "numpy")},
        },
    }
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
