"""What does a census of all layers cost on top of one bare forward through all layers?

One interleaved run on the same batch: bare forward; the census with all its metrics; and the norms
alone. Ratios of medians, and the memory beyond the bare forward's. Reading images is in neither.
`python -m benchmarks.census [--shape base|large|so400m] [--device cuda] [--out FILE]`.
"""

import argparse
import threading
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.extraction import SHAPES, medians, record, vision_model
from diysink.census.layer import Walk
from diysink.census.totals import Totals
from diysink.encoders import Encoder
from diysink.sinks import CalibrationSettings, measure_norms, patch_contrast, token_norms

REPLICATES, SEED = 200, 0


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


def peak_of(way: Callable[[], None], cuda: bool) -> int:
    """Highest memory while it runs, beyond what was there before."""
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        way()
        return torch.cuda.max_memory_allocated() - before
    before, highest, ended = resident(), [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            highest[0] = max(highest[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    way()
    ended.set()
    watcher.join()
    return highest[0] - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--out", type=Path, help="add the result to this JSON file")
    args = parser.parse_args()
    cuda = args.device.startswith("cuda")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    dtype = torch.bfloat16 if cuda else torch.float32
    encoder = Encoder.of(vision_model(args.shape).to(args.device, dtype), -1)
    walk, side = Walk(encoder), SHAPES[args.shape]["image_size"]
    pixels = torch.randn(args.batch, 3, side, side)
    grid = encoder.grid(pixels)
    names = [f"image-{index}" for index in range(args.batch)]
    everything, settings = Totals(), CalibrationSettings()

    def bare() -> None:
        encoder(pixels.to(args.device, dtype)).sum().item()  # waits for the device

    def census() -> None:
        contrast = patch_contrast(pixels, *grid).to(args.device)
        for seen in walk(pixels.to(args.device, dtype), contrast, names, everything.units):
            everything.add(seen, grid, REPLICATES, SEED)
        everything.count += len(names)  # as `Pass` does

    def norms() -> None:
        layout = settings.layout(replicates=REPLICATES, seed=SEED)
        for states in encoder.hidden_states(pixels.to(args.device, dtype)):
            measure_norms(layout, list(token_norms(states[:, encoder.prefix :])), names)

    ways = {"bare": bare, "census": census, "norms alone": norms}
    with torch.inference_mode():
        median = medians(ways, args.steps, cuda)
        peaks = {name: peak_of(way, cuda) / 2**20 for name, way in ways.items()}
    result = {
        "ratio_census_to_bare": median["census"] / median["bare"],
        "ratio_norms_to_bare": median["norms alone"] / median["bare"],
        "mib_beyond_bare": peaks["census"] - peaks["bare"],
        "median_seconds": median,
        "batch": args.batch,
        "steps": args.steps,
        "shape": SHAPES[args.shape],
        "dtype": str(dtype).removeprefix("torch."),
    }
    record(result, args.shape, cuda, args.out)


if __name__ == "__main__":
    main()
