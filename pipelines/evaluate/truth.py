"""Which images are simple in truth: what CoT's answers about images are held against."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

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
        ValueError: the table has no such attribute.
    """
    settings = evaluate.simple
    if settings is None:
        return _simple(pd.DataFrame(columns=["image", "label"]), ())
    if settings.table == "miniature":
        labels = _generated(records, prepare, evaluate, seed)
    else:
        from diysink.analysis.labels import checked

        read = pd.read_parquet if settings.table.endswith(".parquet") else pd.read_csv
        labels = checked(read(settings.table))
        if settings.attribute not in set(labels["attribute"]):
            raise ValueError(
                f"evaluate.simple.attribute is {settings.attribute!r}, but the labels of "
                f"{settings.table} are of {', '.join(sorted(set(labels['attribute'])))}"
            )
    return _simple(labels[labels["attribute"] == settings.attribute], settings.labels)


def _simple(labels: pd.DataFrame, simple: tuple[str, ...]) -> pd.DataFrame:
    one = labels.drop_duplicates("image", ignore_index=True)
    return pd.DataFrame({"image": one["image"].astype("str"), "simple": one["label"].isin(simple)})


def _generated(records: Path, prepare: "Prepare", evaluate: "Evaluate", seed: int) -> pd.DataFrame:
    """What the generator knows of the images of all benchmarks; nothing of a user's own."""
    from diysink.miniature.truth import image_labels
    from diysink.records import Records

    generated = {} if prepare.splits else prepare.generate
    splits = dict.fromkeys(row.split for row in evaluate.rows())
    tables = [
        image_labels(Records(records / name), name, generated[name].images, seed)
        for name in splits
        if name in generated
    ]
    none = pd.DataFrame(columns=["image", "attribute", "label"])
    return pd.concat(tables, ignore_index=True) if tables else none
