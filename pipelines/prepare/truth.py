"""What the generator knows of the images that it made; nothing of a user's own."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from pipelines.prepare.settings import Prepare


def generated_labels(
    records: Path, prepare: "Prepare", split: str, seed: int
) -> pd.DataFrame | None:
    """Labels of the images of a split; None where it was not generated."""
    from diysink.miniature.truth import image_labels
    from diysink.records import Records

    if prepare.splits or split not in prepare.generate:
        return None
    return image_labels(Records(records / split), split, prepare.generate[split].images, seed)
