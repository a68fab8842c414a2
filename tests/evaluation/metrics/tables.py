"""Items of benchmarks, and tables of predictions as `diysink.evaluation.predict` makes them."""

import io
from functools import cache

import numpy as np
import pandas as pd
from PIL import Image

from diysink.evaluation.item import Item
from diysink.evaluation.metrics import METRICS, Metric
from diysink.records import ImageFile, Turn, answer_of


@cache
def picture(number: int) -> ImageFile:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (number % 256, number // 256, 0)).save(file, "PNG")
    return ImageFile.of(file.getvalue())


def item(answer="A", *, number=0, image=None, question="Which?", **more) -> Item:
    return Item(
        id=f"q{number}",
        images=(picture(number if image is None else image),),
        conversations=(Turn("human", f"<image>\n{question}"), Turn("gpt", answer)),
        **more,
    )


def table(metric: Metric | str, answered: list[tuple[str, Item]]) -> pd.DataFrame:
    """The rows of some predictions."""
    metric = METRICS[metric] if isinstance(metric, str) else metric
    rows = []
    for prediction, asked in answered:
        judgement = metric.judge(prediction, asked)
        rows.append(
            {
                "image": asked.images[0].sha256,
                "subtask": asked.subtask,
                "unit": asked.unit,
                "labels": list(asked.labels),
                "reference": answer_of(asked),
                "prediction": prediction,
                "parsed": judgement.parsed,
                "guessed": judgement.guessed,
                "correct": judgement.score,
            }
        )
    return pd.DataFrame(rows)


def numbers(metric: Metric | str, rows: pd.DataFrame, draws=None) -> dict[str, np.ndarray]:
    """The metric's numbers over all images, or over how often each is drawn."""
    metric = METRICS[metric] if isinstance(metric, str) else metric
    totals = metric.totals(rows)
    counts = np.ones((1, len(totals))) if draws is None else draws
    sums = dict(zip(totals.columns, (counts @ totals.to_numpy()).T, strict=True))
    return dict(metric.numbers(sums))
