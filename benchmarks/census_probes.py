"""What do the largest-norm patches know? Linear probes of a category, and attention rollout.

`python benchmarks/census_probes.py MODEL FOLDER [--size 224] [--out FILE]`, where FOLDER holds
images and `labels.csv` with the columns image, category, x, y, width, height (the object's box in
pixels of a square image). For every layer: 5-fold accuracy of a linear probe from the largest-norm
patch, another patch drawn at random, the class token and the mean of all patches; and the share of
the class token's attention rollout (arXiv 2005.00928) that comes from inside the box, over the
box's share of the area.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from diysink.census import Options, census_of
from diysink.census.metrics.places import other_patch
from diysink.census.show import mean_attention
from diysink.resampling import Bootstrap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int)
    parser.add_argument("--layers", type=int, nargs="*")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    census = census_of(args.model, Options(size=args.size, layers=args.layers))
    labels = pd.read_csv(args.folder / "labels.csv")
    kept: dict[tuple[int, str], list[np.ndarray]] = {}
    shares: dict[int, list[float]] = {}
    for row in labels.itertuples():
        image = Image.open(args.folder / row.image).convert("RGB")
        pixels = census.process([image])
        grid = census.encoder.grid(pixels)
        inside = box_of(row, image.size, grid).flatten()
        flow = None
        with torch.inference_mode():
            for seen in census.walk(pixels, torch.ones(1, inside.size), [row.image]):
                if seen.attended is not None:
                    attention = mean_attention(seen.attended)[0]
                    flow = torch.eye(len(attention)) if flow is None else flow
                    flow = (attention @ flow + flow) / 2
                if seen.number not in census.layers:
                    continue
                largest_norm = seen.norms.argmax(1)
                states = {
                    "largest-norm patch": seen.patches[0, largest_norm[0]],
                    "another patch": seen.patches[0, other_patch(seen, largest_norm)[0]],
                    "class token": seen.hidden[0, 0],
                    "mean of patches": seen.patches[0].mean(0),
                }
                for name, state in states.items():
                    kept.setdefault((seen.number, name), []).append(state.numpy().copy())
                if flow is not None:
                    from_patches = flow[0, seen.prefix :].numpy()
                    share = from_patches[inside].sum() / from_patches.sum() / inside.mean()
                    shares.setdefault(seen.number, []).append(float(share))
    bootstrap, rows = Bootstrap(2000, 0.95, 0), list[dict[str, object]]()
    category = labels["category"].to_numpy()
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    for (layer, name), states in kept.items():
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
        right = cross_val_predict(probe, np.stack(states), category, cv=folds) == category
        rows.append({"layer": layer, "from": name} | mean_of(right.astype(float), bootstrap))
    for layer, values in shares.items():
        about = {"layer": layer, "from": "rollout inside the box over its area"}
        rows.append(about | mean_of(np.array(values), bootstrap))
    chance = float(pd.Series(category).value_counts(normalize=True).iloc[0])
    result = {"model": census.encoder.name, "images": len(labels), "size": args.size,
              "most frequent category": chance, "rows": rows}  # fmt: skip
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(pd.DataFrame(rows).round(3).to_string(index=False))


def box_of(row: object, size: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    """Which patches have their middle in the box."""
    y = (np.arange(grid[0]) + 0.5) / grid[0] * size[1]
    x = (np.arange(grid[1]) + 0.5) / grid[1] * size[0]
    down = (row.y <= y) & (y < row.y + row.height)
    across = (row.x <= x) & (x < row.x + row.width)
    return down[:, None] & across[None]


def mean_of(values: np.ndarray, bootstrap: Bootstrap) -> dict[str, float]:
    low, high = bootstrap.ratio_interval(values[:, None], np.ones((len(values), 1)))
    return {"value": float(values.mean()), "low": float(low[0]), "high": float(high[0])}


if __name__ == "__main__":
    main()
