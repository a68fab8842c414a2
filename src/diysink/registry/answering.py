"""The MLflow model: a table of images and questions in, answers out.

MLflow copies this file into the package and runs it to load the model ("models from code"), so
nothing is pickled: a package is this code, the library beside it and a folder of safetensors.
Images come as bytes of an encoded file, or as base64 of them (a REST client has nothing else).
Paths and URLs are not taken: whoever may ask questions must not thereby read the server's files,
nor make it fetch anything. Every cell is checked before anything is computed, because MLflow turns
an error that is not its own into a bare "unexpected error"; its own arrive as HTTP 400.
"""

import base64
import binascii
import re
from collections.abc import Collection
from numbers import Real
from typing import Any

import pandas as pd
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

BATCH = 32  # questions answered at once
NAMED = 5  # bad rows that an error names
COLUMNS = ("image", "question")
PLACEHOLDER = "<image>"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")  # base64 holds no colon


class PackagedAnswers(PythonModel):
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
        self._generator = load(context.artifacts["model"], device=device)
        self._generator.max_new_tokens = context.model_config["max_new_tokens"]
        self._tokenizer = self._generator.chat_encoder.tokenizer
        self._special = {PLACEHOLDER, *self._tokenizer.all_special_tokens}

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Answers as a table with one column, ``answer``; a table without rows gives none.

        Args:
            context: of the package.
            model_input: columns ``image`` (bytes or base64) and ``question`` (text). Others are
                ignored.
            params: none are known.

        Raises:
            MlflowException: a column is missing, or a cell cannot be used; the rows are named,
                counted from 0. A server answers with HTTP 400.
        """
        table = as_rows(model_input)
        files, questions, problems = [], [], {}
        for row, (image, question) in enumerate(
            zip(table["image"], table["question"], strict=True)
        ):
            try:
                questions.append(self._question(question))
                files.append(image_file(image))
            except ValueError as error:
                problems[row] = str(error)
        if problems:
            raise MlflowException(_listed(problems, len(table)), INVALID_PARAMETER_VALUE)
        answers: list[str] = []
        for start in range(0, len(files), BATCH):  # decoded a batch at a time: pixels are large
            images = [file.open() for file in files[start : start + BATCH]]
            answers += self._generator.answer(images, questions[start : start + BATCH])
        return pd.DataFrame({"answer": answers}, dtype=object)

    def _question(self, cell: Any) -> str:
        question = question_text(cell, self._special)
        start = question.strip()[:1000]  # enough to tell, however long it is
        if not self._tokenizer(start, add_special_tokens=False)["input_ids"]:
            raise ValueError("the question holds nothing that the tokenizer knows; expected text")
        return question


def as_rows(model_input: pd.DataFrame) -> pd.DataFrame:
    """The table that was asked; lists in its only row are its columns.

    ``{"image": [...], "question": [...]}``, as ``inputs`` of a request or a dict in Python, reaches
    a model as one row of two lists.

    Raises:
        MlflowException: a column is missing or there twice, or the lists differ in length.
    """
    if missing := [name for name in COLUMNS if name not in model_input]:
        raise MlflowException(
            f"the input has no column {' and no column '.join(map(repr, missing))}; expected "
            f"'image' and 'question', got {list(map(str, model_input.columns))}",
            INVALID_PARAMETER_VALUE,
        )
    table = model_input.loc[:, list(COLUMNS)]
    if len(table.columns) != len(COLUMNS):
        raise MlflowException(
            "the input has a column 'image' or 'question' twice; expected one of each",
            INVALID_PARAMETER_VALUE,
        )
    cells = [table[name].iloc[0] for name in COLUMNS] if len(table) == 1 else []
    if not cells or not all(isinstance(cell, list) for cell in cells):
        return table
    images, questions = cells
    if len(images) != len(questions):
        raise MlflowException(
            f"the input has {len(images)} images and {len(questions)} questions; expected as many "
            "of one as of the other",
            INVALID_PARAMETER_VALUE,
        )
    columns = {"image": images, "question": questions}
    return pd.DataFrame({name: pd.Series(cell, dtype=object) for name, cell in columns.items()})


def question_text(cell: Any, special: Collection[str] = (PLACEHOLDER,)) -> str:
    """A cell of the column ``question``, if it is one.

    Args:
        cell: as it came.
        special: the tokenizer's special tokens. Inside a question they would not be read as text:
            ``<image>`` asks for a second image, an end-of-turn token ends the question.

    Raises:
        ValueError: null, no text, nothing to read in it, or a special token inside.
    """
    if _is_null(cell):
        raise ValueError("the question is null; expected text")
    if not isinstance(cell, str):
        raise ValueError(f"the question is {_kind(cell)}; expected text")
    if not any(letter.isprintable() and not letter.isspace() for letter in cell):
        raise ValueError("the question is empty or blank; expected text")
    try:
        cell.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the question holds {cell[error.start]!a} at character {error.start}, which is no "
            "letter in itself; expected text that UTF-8 can hold"
        ) from error
    # A single character is an ordinary one ("!" pads in some tokenizers).
    found = sorted(token for token in special if len(token.strip()) > 1 and token in cell)
    if found:
        raise ValueError(
            f"the question holds {', '.join(map(repr, found))}, which the model reads as a sign of "
            "its own and not as text; take it out (the image needs no placeholder)"
        )
    return str(cell)


def image_file(cell: Any) -> Any:
    """A cell of the column ``image``, as a `diysink.records.ImageFile`.

    Raises:
        ValueError: null, neither bytes nor base64, no image, or beyond the limits of
            `diysink.records.ImageLimits`.
    """
    from diysink.records import ImageFile

    if _is_null(cell):
        raise ValueError(f"the image is null; {_EXPECTED}")
    match cell:
        case bytes() | bytearray() | memoryview():
            data = bytes(cell)
        case str():
            data = _from_base64(cell)
        case _:
            raise ValueError(f"the image is {_kind(cell)}; {_EXPECTED}")
    if not data:
        raise ValueError(f"the image is empty; {_EXPECTED}")
    try:
        return ImageFile.of(data)
    except ValueError as error:
        raise ValueError(f"the image cannot be decoded ({error}); {_EXPECTED}") from error


_EXPECTED = "expected the bytes of an image file (PNG, JPEG, ...), or base64 of them"


def _from_base64(text: str) -> bytes:
    if _URL.match(text):
        raise ValueError(
            f"the image is a URL ({text[:30]!r}), and none is fetched or opened; {_EXPECTED} (of a "
            "'data:' URL, what follows the comma)"
        )
    try:
        # MLflow's own examples wrap base64 in lines.
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(
            f"the image is text that is no base64 ({error}), beginning {text[:30]!r}; paths are "
            f"not opened; {_EXPECTED}"
        ) from error


def _is_null(cell: Any) -> bool:
    if cell is None or cell is pd.NA or cell is pd.NaT:
        return True
    return isinstance(cell, Real) and bool(cell != cell)  # NaN, numpy's too


def _kind(cell: Any) -> str:
    shape = getattr(cell, "shape", None)
    return f"of type {type(cell).__name__}" + (f" of shape {tuple(shape)}" if shape else "")


def _listed(problems: dict[int, str], rows: int) -> str:
    named = [f"row {row}: {problem}" for row, problem in list(problems.items())[:NAMED]]
    more = f"; and {len(problems) - NAMED} more rows" if len(problems) > NAMED else ""
    total = f"{len(problems)} of {rows} rows cannot be answered (rows count from 0)"
    return f"{total}. {'; '.join(named)}{more}"


set_model(PackagedAnswers())
