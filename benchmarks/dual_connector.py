"""Two MLPs on a few sinks and many others: compute both everywhere, replace rows, or gather?

One interleaved run, forward and backward, on the same tokens; medians as ratios to one MLP.

- everywhere: both MLPs over all tokens, then `torch.where` (what `diysink.connector.DualConnector`
  does: with equal weights it is one MLP to the last bit, and its shapes are fixed)
- replaced: f_nonsink over all tokens, f_sink over the sinks, whose rows it replaces
- gathered: each MLP over its own tokens alone, both scattered back

`python benchmarks/dual_connector.py [--large] [--device cuda] [--out FILE]`
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch

from diysink.connector import DualConnector, SingleConnector

# vision width, language width, images, tokens per image, share of sinks
SMALL = (96, 128, 32, 36, 1 / 12)
LARGE = (1024, 4096, 1, 576, 5 / 576)


def everywhere(dual, features, sinks):
    return dual(features, sinks)[0]


def replaced(dual, features, sinks):
    rows = sinks.nonzero(as_tuple=True)
    out, _ = dual.nonsink(features, sinks)
    return out.index_put(rows, dual.sink(features[rows], sinks[rows])[0])


def gathered(dual, features, sinks):
    out = features.new_empty(*sinks.shape, dual.sink.linear_2.out_features)
    for part, rows in ((dual.sink, sinks), (dual.nonsink, ~sinks)):
        rows = rows.nonzero(as_tuple=True)
        out = out.index_put(rows, part(features[rows], sinks[rows])[0])
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    cuda = args.device.startswith("cuda")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    vision, language, images, tokens, share = LARGE if args.large else SMALL
    dtype = torch.bfloat16 if cuda else torch.float32
    single = SingleConnector(vision, language).to(args.device, dtype)
    dual = DualConnector(vision, language).to(args.device, dtype)
    features = torch.randn(images, tokens, vision).to(args.device, dtype)
    sinks = torch.rand(images, tokens).to(args.device) < share
    run = {
        "one MLP": lambda: single(features, sinks)[0],
        "everywhere": lambda: everywhere(dual, features, sinks),
        "replaced": lambda: replaced(dual, features, sinks),
        "gathered": lambda: gathered(dual, features, sinks),
    }
    for name in ("replaced", "gathered"):  # the same result, or there is nothing to compare
        torch.testing.assert_close(run[name](), run["everywhere"](), atol=1e-5, rtol=1e-4)
    clock = time.perf_counter if cuda else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in run}
    for turn in range(args.rounds + 2):
        for name, way in run.items():
            start = clock()
            way().sum().backward()
            if cuda:
                torch.cuda.synchronize()
            if turn >= 2:
                seconds[name].append(clock() - start)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    result = {
        "ratio_to_one_mlp": {name: time / median["one MLP"] for name, time in median.items()},
        "median_seconds": median,
        "shapes": {"vision": vision, "language": language, "images": images, "tokens": tokens,
                   "sinks": int(sinks.sum())},
        "device": torch.cuda.get_device_name() if cuda else platform.machine(),
        "threads": 1,
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }  # fmt: skip
    print(json.dumps(result["ratio_to_one_mlp"], indent=2))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
