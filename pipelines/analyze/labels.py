"""Labels of the images of a split: what probes, maps and words are compared with."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
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
            from diysink.miniature.truth import image_labels

            labels = image_labels(split, name, generated.images, seed)
        case path:
            read = pd.read_parquet if str(path).endswith(".parquet") else pd.read_csv
            labels = read(path)
    labels = checked(labels)
    rest = answers[~answers["attribute"].isin(set(labels["attribute"]))]
    return labels if rest.empty else pd.concat([labels, rest], ignore_index=True)
