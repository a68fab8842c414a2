"""What the generator knows of its own images, as a table of labels."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from diysink.miniature.llava import scenes
from diysink.miniature.world import GRID
from diysink.records import Record


def image_labels(records: Iterable[Record], name: str, images: int, seed: int) -> pd.DataFrame:
    """Global attributes and objects of a generated split's images, which the seed makes again.

    Args:
        records: of the split; images that were quarantined are not among them.
        name: of the split.
        images: how many were generated.
        seed: by which.

    Returns:
        The columns of `diysink.analysis.labels`.
    """
    digests = {r.id.removeprefix(f"{name}-").split("-")[0]: r.images[0].sha256 for r in records}
    rows: list[dict[str, Any]] = []
    for number, (scene, _) in enumerate(scenes(name, images, seed)):
        image = digests.get(f"{number:06d}")
        if image is None:
            continue
        whole = {
            "scene": scene.texture,
            "lighting": scene.lighting,
            "symmetry": "symmetric" if scene.mirrored else "uneven",
            "majority": scene.majority,
            "crowd": scene.crowd,
        }
        rows += [
            {"image": image, "attribute": attribute, "scope": "global", "label": label}
            for attribute, label in whole.items()
        ]
        rows += [
            {"image": image, "attribute": attribute, "scope": "local", "label": label,
             "top": thing.row / GRID, "left": thing.column / GRID,
             "bottom": (thing.row + 1) / GRID, "right": (thing.column + 1) / GRID}
            for thing in scene.things
            for attribute, label in (("colour", thing.colour), ("shape", thing.shape))
        ]  # fmt: skip
    columns = ("image", "attribute", "scope", "label", "top", "left", "bottom", "right")
    return pd.DataFrame(rows, columns=list(columns))
