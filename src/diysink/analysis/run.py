"""Analyses of one model in one call, without a pipeline and without keeping anything."""

from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import cast

import pandas as pd

from diysink.analysis.driver import Analyses, Walk
from diysink.analysis.subject import Subject
from diysink.artifact import Workspace
from diysink.records import Record, Records


def analyze(
    subject: Subject,
    records: Sequence[Record] | Records,
    analyses: Analyses,
    *,
    batch_size: int = 8,
    max_new_tokens: int = 16,
    seed: int = 0,
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Measure a model on the first records, once for all analyses.

    Args:
        subject: `diysink.analysis.stock.StockSubject` of a stock model, or
            `diysink.analysis.subject.DIYSinkSubject` of one of this project.
        records: with one image and one question each; others are passed over.
        analyses: by name; their settings say how many questions or images they read.
        batch_size: questions, or images, at a time; 1 for a model whose images differ in their
            number of visual tokens.
        max_new_tokens: length limit of answers.
        seed: of random-matched tokens.

    Returns:
        The tidy table of every analysis that this model can show, and why it cannot show the
        others, by name.

    Raises:
        UnsupportedModelError: the images of one batch have different numbers of visual tokens.
        ValueError: no record has an image.
    """
    with TemporaryDirectory() as folder:
        walk = Walk(
            lambda: subject,
            cast(Records, records),
            Workspace(folder, "analyze", {}),
            batch_size=batch_size,
            max_new_tokens=max_new_tokens,
            seed=seed,
        )
        rows, reasons = walk.measure(analyses)
    return {name: analyses[name].summarize(table) for name, table in rows.items()}, reasons
