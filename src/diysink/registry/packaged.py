"""A registered package as a model that answers records, for the same evaluation as any other."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from diysink.evaluation.predict import Replies
from diysink.records import ImageLimits, Record, question_of


class PackagedModel:
    """An `diysink.evaluation.predict.AnsweringModel` of what MLflow loads.

    Args:
        uri: such as ``models:/diysink@champion`` or ``runs:/.../model``.
        device: where it runs.
    """

    several_images = False

    def __init__(self, uri: str, device: str = "auto") -> None:
        import mlflow

        # Records were taken in under limits of their own; a package must not be stricter.
        config = {"device": device, "max_image_bytes": ImageLimits().max_bytes}
        self._model = mlflow.pyfunc.load_model(uri, model_config=config)

    def answer(self, records: Sequence[Record], max_new_tokens: int | None = None) -> Replies:
        """Answers to a batch, and what the package tells of how they came about.

        Raises:
            ValueError: a length limit: a package has its own.
        """
        if max_new_tokens is not None:
            raise ValueError(f"max_new_tokens is {max_new_tokens}, and a package has its own limit")
        table = pd.DataFrame(
            {
                "image": [record.images[0].data for record in records],
                "question": [question_of(record) for record in records],
            }
        )
        return _replies(self._model.predict(table))


def _replies(told: pd.DataFrame) -> Replies:
    """By the columns that are there: older packages tell the answers alone."""

    def column(name: str) -> list[Any]:
        return told[name].tolist() if name in told else []

    return Replies(
        texts=[str(answer) for answer in column("answer")],
        routes=column("route"),
        weights=list(zip(column("weight_sink"), column("weight_nonsink"), strict=True)),
        visual_tokens=column("visual_tokens"),
        cut=column("cut"),
    )
