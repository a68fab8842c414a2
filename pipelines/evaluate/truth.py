"""Which images are simple in truth: what CoT's answers about images are held against."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipelines.prepare.truth import generated_labels

if TYPE_CHECKING:
    from pipelines.evaluate.settings import Evaluate
    from pipelines.prepare.settings import Prepare


def find_simple_images(
    records: Path, prepare: "Prepare", evaluate: "Evaluate", seed: int
) -> pd.DataFrame:
    """Images of which it is known whether they are simple: ``image`` (SHA-256), ``simple``.

    ``evaluate.simple`` names a table of labels (see `diysink.analysis.labels`), or the miniature,
    whose generator knows; of a user's own data it does not. An image without a label is left out.

    Raises:
        ValueError: the labels have no such attribute, or the attribute has no such label.
    """
    settings = evaluate.simple
    none = pd.DataFrame(columns=["image", "attribute", "label"])
    if settings is None:
        return _simple(none, ())
    if settings.table == "miniature":
        splits = dict.fromkeys(row.split for row in evaluate.rows())
        found = [generated_labels(records, prepare, split, seed) for split in splits]
        tables = [table for table in found if table is not None and len(table)]
        if not tables:  # the user's own data, of which the generator knows nothing
            return _simple(none, ())
        labels = pd.concat(tables, ignore_index=True)
    else:
        from diysink.analysis.labels import read_labels

        labels = read_labels(settings.table)
    own = labels[labels["attribute"] == settings.attribute]
    if own.empty:
        raise ValueError(
            f"evaluate.simple.attribute is {settings.attribute!r}, but the labels of "
            f"{settings.table} are of {', '.join(sorted(set(labels['attribute'])))}"
        )
    if unknown := sorted(set(settings.labels) - set(own["label"])):
        raise ValueError(
            f"evaluate.simple.labels are {', '.join(settings.labels)}, but no image of "
            f"{settings.table} is {', '.join(unknown)}; the labels of {settings.attribute} are "
            f"{', '.join(sorted(set(own['label'])))}"
        )
    return _simple(own, settings.labels)


def known_images(simple_images: pd.DataFrame) -> dict[str, bool]:
    """By digest, whether an image is simple."""
    return dict(zip(simple_images["image"], simple_images["simple"].tolist(), strict=True))


def _simple(labels: pd.DataFrame, simple: tuple[str, ...]) -> pd.DataFrame:
    one = labels.drop_duplicates("image", ignore_index=True)
    return pd.DataFrame({"image": one["image"].astype("str"), "simple": one["label"].isin(simple)})
