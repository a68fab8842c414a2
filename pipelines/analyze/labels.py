"""Labels of the images of a split: what probes, maps and words are compared with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from diysink.records import Records
    from pipelines.analyze.settings import Analyze
    from pipelines.prepare.settings import Prepare


def label_images(records: Path, prepare: "Prepare", analyze: "Analyze", seed: int) -> pd.DataFrame:
    """Labels of the images of a split: answers of the records, and a table if one is given.

    ``analyze.labels.table`` is a CSV or parquet file of the columns of
    :mod:`diysink.analysis.labels`, ``miniature`` (what the generator knows of its own images; no
    labels where the data are the user's), or null. Where both know an attribute, the table counts.
    """
    from diysink.analysis.labels import checked, record_labels
    from diysink.records import Records

    settings = analyze.labels
    if settings is None:
        return pd.DataFrame()
    name, table = settings.split, settings.table
    split = Records(records / name)
    answers = record_labels(split, settings.groups)
    match table:
        case None:
            return answers
        case "miniature":
            generated = prepare.generate.get(name)
            if prepare.splits or generated is None:
                return answers
            labels = _generated(split, name, generated.images, seed)
        case path:
            read = pd.read_parquet if str(path).endswith(".parquet") else pd.read_csv
            labels = read(path)
    labels = checked(labels)
    rest = answers[~answers["attribute"].isin(set(labels["attribute"]))]
    return labels if rest.empty else pd.concat([labels, rest], ignore_index=True)


def _generated(split: "Records", name: str, images: int, seed: int) -> pd.DataFrame:
    """Global attributes and objects of the miniature's images, from the seed they are made by."""
    from diysink.miniature.llava import scenes
    from diysink.miniature.world import GRID

    digests = {r.id.removeprefix(f"{name}-").split("-")[0]: r.images[0].sha256 for r in split}
    rows: list[dict[str, Any]] = []
    for number, (scene, _) in enumerate(scenes(name, images, seed)):
        image = digests.get(f"{number:06d}")
        if image is None:  # quarantined
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
    return pd.DataFrame(rows)
