"""What is known of the images of a split: what probes, maps and words are held against."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from diysink.records import Records
    from pipelines.prepare.settings import Prepare


def label_images(
    records: Path, prepare: "Prepare", analyze: dict[str, Any], seed: int
) -> pd.DataFrame:
    """What is known of the images of a split: answers of the records, and a table if one is given.

    ``analyze.labels.table`` is a CSV or parquet file of the columns of
    :mod:`diysink.analysis.labels`, ``miniature`` (what the generator knows of its own pictures; no
    labels where the data are the user's), or null. Where both know an attribute, the table counts.
    """
    from diysink.analysis.labels import checked, record_labels
    from diysink.records import Records

    asked = analyze["labels"]
    if asked is None:
        return pd.DataFrame()
    split = Records(records / asked["split"])
    told = record_labels(split, asked["groups"])
    match asked["table"]:
        case None:
            return told
        case "miniature":
            made = prepare.generate.get(asked["split"])
            if prepare.splits or made is None:
                return told
            given = _generated(split, asked["split"], made.images, seed)
        case path if str(path).endswith(".parquet"):
            given = pd.read_parquet(path)
        case path:
            given = pd.read_csv(path)
    given = checked(given)
    rest = told[~told["attribute"].isin(set(given["attribute"]))]
    return given if rest.empty else pd.concat([given, rest], ignore_index=True)


def _generated(split: "Records", name: str, images: int, seed: int) -> pd.DataFrame:
    """Global attributes and objects of the miniature's pictures, from the seed they are made by."""
    from diysink.miniature.llava import scenes
    from diysink.miniature.world import GRID

    shown = {r.id.removeprefix(f"{name}-").split("-")[0]: r.images[0].sha256 for r in split}
    rows: list[dict[str, Any]] = []
    for number, (scene, _) in enumerate(scenes(name, images, seed)):
        image = shown.get(f"{number:06d}")
        if image is None:  # quarantined
            continue
        for attribute, label in (
            ("scene", scene.texture),
            ("lighting", scene.lighting),
            ("symmetry", "symmetric" if scene.mirrored else "uneven"),
            ("majority", scene.majority),
            ("crowd", scene.crowd),
        ):
            rows.append({"image": image, "attribute": attribute, "scope": "global", "label": label})
        for thing in scene.things:
            box = {
                "top": thing.row / GRID,
                "left": thing.column / GRID,
                "bottom": (thing.row + 1) / GRID,
                "right": (thing.column + 1) / GRID,
            }
            for attribute, label in (("colour", thing.colour), ("shape", thing.shape)):
                rows.append(
                    {"image": image, "attribute": attribute, "scope": "local", "label": label} | box
                )
    return pd.DataFrame(rows)
