"""The MLflow model: a table of images and questions in, answers out.

MLflow copies this file into the package and runs it to load the model ("models from code"), so
nothing is pickled: a package is this code, the library beside it and a folder of safetensors.
Images come as bytes of an encoded file, or as base64 of them (a REST client has nothing else).
Paths are not taken: whoever may ask questions must not thereby read the server's files.
"""

import base64
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from PIL import Image

BATCH = 32  # questions answered at once


class AnsweringModel(PythonModel):
    """Answers one question about each image."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the folder that the package holds, on the device of ``model_config``.

        ``mlflow.pyfunc.load_model(uri, model_config={"device": "cuda"})`` chooses another.
        """
        import torch

        from diysink.model import load

        device = context.model_config["device"]
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._answerer = load(context.artifacts["model"], device=device)
        self._answerer.max_new_tokens = context.model_config["max_new_tokens"]

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Answers as a table with one column, ``answer``.

        Args:
            context: of the package.
            model_input: columns ``image`` (bytes or base64) and ``question``.
            params: none are known.

        Raises:
            ValueError: an image cannot be decoded; its row is named.
        """
        images = [decode(image, row) for row, image in enumerate(model_input["image"])]
        questions = [str(question) for question in model_input["question"]]
        answers: list[str] = []
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            answers += self._answerer.answer(images[part], questions[part])
        return pd.DataFrame({"answer": answers})


def decode(image: bytes | str, row: int) -> Image.Image:
    """An upright RGB image from the bytes of an encoded file or their base64.

    Raises:
        ValueError: neither, or beyond the limits of `diysink.records.ImageLimits`.
    """
    from diysink.records import ImageFile

    try:
        data = image if isinstance(image, bytes) else _from_base64(image)
        return ImageFile.of(data).open()
    except ValueError as error:
        raise ValueError(
            f"row {row}: the image cannot be decoded ({error}); expected the bytes of an image "
            "file (PNG, JPEG, ...), or base64 of them"
        ) from error


def _from_base64(text: str) -> bytes:
    # MLflow's own examples wrap base64 in lines.
    return base64.b64decode("".join(text.split()), validate=True)


set_model(AnsweringModel())
