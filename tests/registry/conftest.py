"""Registered versions without models: decisions are made by the predictions that they carry."""

import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from diysink.registry import challenge

NAME = "toy"


def predictions(correct: np.ndarray, *, first: int = 0) -> pd.DataFrame:
    """One row an item, two items an image; ``correct`` says which are answered rightly."""
    items = np.arange(first, first + len(correct))
    return pd.DataFrame(
        {
            "variant": "dual",
            "seed": 3,
            "id": [f"item-{i}" for i in items],
            "image": [f"image-{i // 2}" for i in items],
            "group": np.where(items % 2, "local", "global"),
            "subtask": "colour",
            "question": "what?",
            "reference": "red",
            "prediction": np.where(correct, "red", "blue"),
            "correct": correct.astype(bool),
        }
    )


def answers(share: float, n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Predictions of which ``share`` is right; a higher share contains the lower one's items."""
    order = np.random.default_rng(seed).permutation(n)
    return predictions(order < round(share * n))


@pytest.fixture
def version(tracking: Path, tmp_path: Path) -> Callable[[pd.DataFrame], int]:
    """Registers predictions as a new version of the model and as challenger; its number."""
    client = MlflowClient()
    client.create_registered_model(NAME)

    def make(table: pd.DataFrame) -> int:
        root = tmp_path / uuid.uuid4().hex
        (root / "artifacts").mkdir(parents=True)
        table.to_parquet(root / "artifacts" / "predictions.parquet")
        made = client.create_model_version(NAME, str(root))
        challenge(NAME, int(made.version))
        return int(made.version)

    return make
