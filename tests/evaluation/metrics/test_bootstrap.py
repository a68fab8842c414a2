"""Sums by image give what recomputing on the resampled items gives, for every metric."""

import numpy as np
import pandas as pd
import pytest

from diysink.evaluation.metrics import METRICS
from tests.evaluation.metrics.tables import item, numbers, table

OPTIONS = ("a cat", "a dog", "a bird")
CHOICES = ["A", "(B)", "a dog", "The answer is C.", "?", "none"]
YES_NO = ["yes", "no", "No, it is not.", "perhaps"]


def answered(name, rng):
    """Sixty predictions about twenty images, in the shape of a benchmark."""
    rows = []
    for i in range(60):
        image, letter = i % 20, "ABC"[rng.integers(3)]
        more = {"number": i, "image": image}
        if name in ("pope", "mme"):
            subtask = ["random", "popular", "adversarial"] if name == "pope" else ["OCR", "count"]
            more |= {"subtask": subtask[image % len(subtask)], "unit": f"{i % 20}"}
            rows.append((YES_NO[rng.integers(4)], item(["yes", "no"][i % 2], **more)))
        elif name == "vqa":
            answers = tuple(rng.choice(["red", "blue", "two"], 10))
            rows.append((str(rng.choice(["Red", "2", "?"])), item("red", answers=answers, **more)))
        else:
            more |= {"options": OPTIONS, "subtask": "xyz"[i % 3], "unit": f"{image}"}
            kind = "multi_choice" if name == "mathvista" else "multiple-choice"
            source = ["ADE20K", "COCO", "Omni3D"][image % 3]
            more |= {"details": {"question_type": kind}, "labels": (source,)}
            rows.append((CHOICES[rng.integers(len(CHOICES))], item(letter, **more)))
    return rows


@pytest.mark.parametrize("name", METRICS)
def test_draws_are_recomputed_tables(name):
    rng = np.random.default_rng(0)
    rows = table(name, answered(name, rng))
    images = sorted(rows["image"].unique())
    draws = rng.multinomial(len(images), np.full(len(images), 1 / len(images)), size=5)
    made = numbers(name, rows, draws.astype(float))
    assert METRICS[name].headline in made
    for draw, counts in enumerate(draws):
        again = []
        for copy in range(counts.max()):
            there = rows[rows["image"].isin([images[i] for i in np.flatnonzero(counts > copy)])]
            # A copy of an image is another image.
            renamed = {"image": there["image"] + f" {copy}", "unit": there["unit"] + f" {copy}"}
            again.append(there.assign(**renamed))
        expected = numbers(name, pd.concat(again))
        for number, value in expected.items():
            assert made[number][draw] == pytest.approx(value[0], nan_ok=True), number
