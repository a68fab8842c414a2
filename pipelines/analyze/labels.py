"""Labels of the images of a split: what probes, maps and words are compared with."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipelines.prepare.truth import generated_labels

if TYPE_CHECKING:
    from pipelines.analyze.settings import Analyze
    from pipelines.prepare.settings import Prepare


def label_images(records: Path, prepare: "Prepare", analyze: "Analyze", seed: int) -> pd.DataFrame:
    """Labels of the images of a split: answers of the records, and a table if one is given.

    ``analyze.labels.table`` is a CSV or parquet file of the columns of
    :mod:`diysink.analysis.labels`, ``miniature`` (what the generator knows of its own images; no
    labels where the data are the user's), or null. Where both know an attribute, the table counts.
    """
    from diysink.analysis.labels import checked, read_labels, record_labels
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
            generated = generated_labels(records, prepare, name, seed)
            if generated is None:
                return answers
            labels = checked(generated)
        case path:
            labels = read_labels(str(path))
    rest = answers[~answers["attribute"].isin(set(labels["attribute"]))]
    return labels if rest.empty else pd.concat([labels, rest], ignore_index=True)
