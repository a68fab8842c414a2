"""The MLflow model: a table of images and questions in, a table of answers out.

MLflow copies this file into the package and runs it to load the model ("models from code"), so
nothing is pickled: a package is this code, the library beside it and a folder of safetensors.
Every cell is checked (`diysink.registry.cells`) before anything is computed, because MLflow turns
an error that is not its own into a bare "unexpected error"; its own arrive as HTTP 400. A server
calls ``predict`` from several threads at once: checking and decoding run side by side, answering
takes turns, a batch each.
"""

import copy
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types.schema import AnyType, Schema

from diysink.encoders import Encoder
from diysink.model import load
from diysink.registry.cells import PLACEHOLDER, image_file, question_text
from diysink.selection import QuestionBatch

BATCH = 32  # questions answered at once
NAMED = 5  # bad rows that an error names
COLUMNS = ("image", "question")
OUTPUTS = (
    "answer",
    "route",
    "weight_sink",
    "weight_nonsink",
    "sinks",
    "sink_positions",
    "grid",
    "visual_tokens",
    "cut",
)


class BadRequestError(MlflowException):
    """HTTP 400 that says what is wrong, and no more.

    MLflow sets the whole request before an error's message, which may be megabytes of base64.
    """

    def __init__(self, message: str) -> None:
        self._said = message
        super().__init__(message, INVALID_PARAMETER_VALUE)

    @property
    def message(self) -> str:
        """As it was raised."""
        return self._said

    @message.setter
    def message(self, longer: str) -> None:
        """Nothing changes it."""


class PackagedAnswers(PythonModel):
    """Answers one question about each image."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the folder that the package holds, on the device of ``model_config``.

        ``mlflow.pyfunc.load_model(uri, model_config={"device": "cuda"})`` chooses another;
        ``max_image_bytes`` is the largest image file that is taken.
        """
        device = context.model_config["device"]
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._generator = load(context.artifacts["model"], device=device)
        self._generator.max_new_tokens = context.model_config["max_new_tokens"]
        self._max_image_bytes = context.model_config["max_image_bytes"]
        # Answering pads with its tokenizer, which changes it: what checks cells has its own.
        self._tokenizer = copy.deepcopy(self._generator.chat_encoder.tokenizer)
        self._special = {PLACEHOLDER, *self._tokenizer.all_special_tokens}
        self._answering = threading.Lock()
        _take_csv()

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """A row for each row; a table without rows gives none.

        ============================  ============================================================
        ``answer``                    the text
        ``route``                     ``both``, ``sink`` or ``nonsink``: what was selected
        ``weight_sink, _nonsink``     factors on the two sets of visual tokens
        ``sinks``                     how many patches of the image are sinks
        ``sink_positions``            which: index in the encoder's grid, row by row, from 0
        ``grid``                      rows and columns of that grid
        ``visual_tokens``             how many the language model saw
        ``cut``                       whether only the beginning of the question was read
        ============================  ============================================================

        Args:
            context: of the package.
            model_input: columns ``image`` (bytes or base64) and ``question`` (text). Others are
                ignored.
            params: none are known.

        Raises:
            BadRequestError: a column is missing, or a cell cannot be used; the rows are named,
                counted from 0. A server answers with HTTP 400.
        """
        files, questions = self._checked(as_rows(model_input))
        rows: list[dict[str, Any]] = []
        for start in range(0, len(files), BATCH):  # decoded a batch at a time: pixels are large
            images = [file.open() for file in files[start : start + BATCH]]
            with self._answering:
                rows += self._answer(images, questions[start : start + BATCH])
        return pd.DataFrame(rows, columns=list(OUTPUTS))

    def _checked(self, table: pd.DataFrame) -> tuple[list[Any], list[str]]:
        """The images and the questions of all rows."""
        files, questions, problems = [], [], {}
        for row, (image, question) in enumerate(
            zip(table["image"], table["question"], strict=True)
        ):
            try:
                questions.append(self._question(question))
                files.append(image_file(image, self._max_image_bytes))
            except ValueError as error:
                problems[row] = str(error)
        if problems:
            raise BadRequestError(_listed(problems, len(table)))
        return files, questions

    def _question(self, cell: Any) -> str:
        question = question_text(cell, self._special)
        start = question.strip()[:1000]  # enough to tell, however long it is
        if not self._tokenizer(start, add_special_tokens=False)["input_ids"]:
            raise ValueError("the question holds nothing that the tokenizer knows; expected text")
        return question

    def _answer(self, images: Sequence[Any], questions: Sequence[str]) -> list[dict[str, Any]]:
        """One batch, encoded once: its patches tell the sinks, also where a resampler follows."""
        model = self._generator.model.model
        pixels = self._generator.pixels(images)
        encoder = Encoder.of(model.vision_tower, model.config.vision_feature_layer)
        with torch.no_grad():
            states = model.visual_states(pixels.to(model.device, model.dtype))
            asked = QuestionBatch.about(questions, pixels)
            told = self._generator.answer_batch(replace(asked, visual=model.connect(states)))
            positions = [patches.nonzero()[:, 0].tolist() for patches in model.sink_mask(states)]
        return [
            {
                "answer": text,
                "route": str(route),
                "weight_sink": weights[0],
                "weight_nonsink": weights[1],
                "sinks": len(sinks),
                "sink_positions": sinks,
                "grid": list(encoder.grid(pixels)),
                "visual_tokens": seen,
                "cut": cut,
            }
            for text, route, weights, sinks, seen, cut in zip(
                told.texts,
                told.choice.routes,
                told.choice.weights.detach().float().tolist(),
                positions,
                told.visual_tokens,
                told.cut,
                strict=True,
            )
        ]


def as_rows(model_input: pd.DataFrame) -> pd.DataFrame:
    """The table that was asked; lists in its only row are its columns.

    ``{"image": [...], "question": [...]}``, as ``inputs`` of a request or a dict in Python, reaches
    a model as one row of two lists.

    Raises:
        BadRequestError: a column is missing or there twice, or the lists differ in length.
    """
    if missing := [name for name in COLUMNS if name not in model_input]:
        raise BadRequestError(
            f"the input has no column {' and no column '.join(map(repr, missing))}; expected "
            f"'image' and 'question', got {list(map(str, model_input.columns))}"
        )
    table = model_input.loc[:, list(COLUMNS)]
    if len(table.columns) != len(COLUMNS):
        raise BadRequestError(
            "the input has a column 'image' or 'question' twice; expected one of each"
        )
    cells = [table[name].iloc[0] for name in COLUMNS] if len(table) == 1 else []
    if not cells or not all(isinstance(cell, list) for cell in cells):
        return table
    images, questions = cells
    if len(images) != len(questions):
        raise BadRequestError(
            f"the input has {len(images)} images and {len(questions)} questions; expected as many "
            "of one as of the other"
        )
    columns = {"image": images, "question": questions}
    return pd.DataFrame({name: pd.Series(cell, dtype=object) for name, cell in columns.items()})


def _listed(problems: dict[int, str], rows: int) -> str:
    named = [f"row {row}: {problem}" for row, problem in list(problems.items())[:NAMED]]
    more = f"; and {len(problems) - NAMED} more rows" if len(problems) > NAMED else ""
    total = f"{len(problems)} of {rows} rows cannot be answered (rows count from 0)"
    return f"{total}. {'; '.join(named)}{more}"


def _take_csv() -> None:
    """MLflow reads CSV by the pandas types of a signature, and has none for its own ``Any``.

    They are objects: text as it came. Only its server asks for them, and only to read CSV.
    """
    types = Schema.pandas_types
    if types.__module__ != Schema.__module__:
        return  # a package that was loaded earlier

    def pandas_types(schema: Schema) -> list[Any]:
        if all(isinstance(kind, AnyType) for kind in schema.input_types()):
            return [object for _ in schema.inputs]
        return list(types(schema))

    Schema.pandas_types = pandas_types


set_model(PackagedAnswers())
