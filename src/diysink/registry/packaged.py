"""A registered package as a model that answers records, for the same evaluation as any other."""

from collections.abc import Sequence

import pandas as pd

from diysink.evaluation.predict import Replies
from diysink.records import Record, question_of


class PackagedModel:
    """An `diysink.evaluation.predict.AnsweringModel` of what MLflow loads.

    Args:
        uri: such as ``models:/diysink@champion`` or ``runs:/.../model``.
        device: where it runs.
    """

    several_images = False

    def __init__(self, uri: str, device: str = "auto") -> None:
        import mlflow

        self._model = mlflow.pyfunc.load_model(uri, model_config={"device": device})

    def answer(self, records: Sequence[Record], max_new_tokens: int | None = None) -> Replies:
        """Answers to a batch; a package does not tell its routes.

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
        return Replies([str(answer) for answer in self._model.predict(table)["answer"]])
