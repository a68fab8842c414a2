"""What does it cost to hold every file of a folder against its SHA-256 before it is used?

One interleaved run over a folder of safetensors, from the page cache: sizes alone, every SHA-256,
loading the tensors and copying them; the ratio of the medians to loading.
`python benchmarks/folder_check.py [--megabytes 512] [--out FILE]`
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from diysink.artifact import read_manifest, write_manifest


def load(folder: Path) -> float:
    """Read the tensors as a model does: every byte of them."""
    tensors = load_file(folder / "model.safetensors")
    return sum(float(tensor.clone()[0, 0]) for tensor in tensors.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        parts = {f"layer{i}": torch.randn(1024, 1024) for i in range(args.megabytes // 4)}
        save_file(parts, folder / "model.safetensors")
        write_manifest(folder)
        ways: dict[str, Callable[[], object]] = {
            "sizes": lambda: read_manifest(folder),
            "digests": lambda: read_manifest(folder, thorough=True),
            "load": lambda: load(folder),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(args.repeats):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    result = {
        "megabytes": args.megabytes,
        "repeats": args.repeats,
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "ratio_to_load": {name: round(medians[name] / medians["load"], 3) for name in medians},
        "megabytes_per_second": round(args.megabytes / medians["digests"]),
        "threads": 1,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
    }
    print(json.dumps(result, indent=2))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
