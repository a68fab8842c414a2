"""A saved model folder as an MLflow model: code, safetensors, signature, example, origins."""

import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array

import diysink
from diysink.artifact import digest_file, digest_json

ANSWERING = Path(__file__).with_name("answering.py")
PREDICTIONS = "predictions"  # of the artifacts: the answers that the version is judged by
MAX_IMAGE_BYTES = 20 * 2**20  # of an image file that a package takes, unless it is told otherwise
# "Any" and not binary and string: to those MLflow casts what it gets before the model sees it. It
# makes the question "None" of a null, drops what is no base64, and fails without naming a row.
SIGNATURE = ModelSignature(
    Schema([ColSpec(AnyType(), "image"), ColSpec(AnyType(), "question")]),
    Schema(
        [
            ColSpec(DataType.string, "answer"),
            ColSpec(DataType.string, "route"),
            ColSpec(DataType.double, "weight_sink"),
            ColSpec(DataType.double, "weight_nonsink"),
            ColSpec(DataType.long, "sinks"),
            ColSpec(Array(DataType.long), "sink_positions"),
            ColSpec(Array(DataType.long), "grid"),
            ColSpec(DataType.long, "visual_tokens"),
            ColSpec(DataType.boolean, "cut"),
        ]
    ),
)


def package_model(
    folder: Path,
    predictions: pd.DataFrame,
    example: pd.DataFrame,
    *,
    tags: Mapping[str, str],
    max_new_tokens: int = 16,
    device: str = "auto",
    code: Path = ANSWERING,
) -> ModelInfo:
    """Log a model folder to the active MLflow run, with all it needs to answer elsewhere.

    The library itself travels along (without the miniature's weights), so that a version registered
    today answers the same when the checkout has moved on.

    Args:
        folder: a saved model (``diysink.model.load`` reads it).
        predictions: its rows of the predictions table; versions are compared by them.
        example: one or more rows of ``image`` (bytes) and ``question``. The package is loaded and
            asked them: whatever that raises, this raises.
        tags: where the model comes from; kept with it.
        max_new_tokens: length limit of an answer, as in the evaluation.
        device: where it answers unless the loader says otherwise; ``auto``: a GPU if there is one.
        code: the file that defines the MLflow model.

    Raises:
        ValueError: the folder holds a file that only pickle reads.
    """
    if pickled := sorted(p.name for p in folder.rglob("*") if p.suffix in _PICKLED):
        raise ValueError(
            f"{folder} holds {', '.join(pickled)}, which loading would unpickle; only safetensors "
            "are packaged. Save the model with save_pretrained(..., safe_serialization=True)."
        )
    with tempfile.TemporaryDirectory() as temporary:
        answers = Path(temporary) / f"{PREDICTIONS}.parquet"
        predictions.to_parquet(answers, index=False)
        library = Path(temporary) / "diysink"
        source = Path(diysink.__file__).parent
        shutil.copytree(source, library, ignore=shutil.ignore_patterns("__pycache__", "weights"))
        made = mlflow.pyfunc.log_model(
            name="diysink",
            python_model=str(code),
            artifacts={"model": folder.absolute().as_uri(), PREDICTIONS: answers.as_uri()},
            code_paths=[str(library)],
            signature=SIGNATURE,
            input_example=example,
            model_config={
                "device": device,
                "max_new_tokens": max_new_tokens,
                "max_image_bytes": MAX_IMAGE_BYTES,
            },
            pip_requirements=requirements(),
            tags=dict(tags),
        )
    # MLflow tries the example too, but only logs a warning if that fails.
    mlflow.pyfunc.load_model(made.model_uri).predict(example)
    return made


def requirements() -> list[str]:
    """What a package needs elsewhere: all that answering imports, in the versions of here.

    Without the local part of a version (``2.13.0+cpu``), which no package index knows: whether
    torch is the build for CPUs or for GPUs is for the index to say where it is installed.
    """
    return [f"{name}=={version(name).split('+')[0]}" for name in _REQUIRED]


def package_digest(folder: Path, predictions: pd.DataFrame) -> str:
    """Digest of all that `package_model` packages: equal ones are the same model and evidence."""
    root = Path(diysink.__file__).parent
    library = {str(p.relative_to(root)): digest_file(p) for p in sorted(root.rglob("*.py"))}
    model = {str(p.relative_to(folder)): digest_file(p) for p in folder.rglob("*") if p.is_file()}
    rows = predictions.sort_values("id").to_json(orient="records")
    return digest_json({"library": library, "model": model, "predictions": rows})


def read_predictions(name: str, model_version: int, folder: str | None = None) -> pd.DataFrame:
    """The predictions that were packaged with a registered version.

    Args:
        name: of the registered model.
        model_version: which of its versions.
        folder: where the file is downloaded to; None: MLflow chooses, and does not copy a file
            that is here.
    """
    uri = f"models:/{name}/{model_version}/artifacts/{PREDICTIONS}.parquet"
    return pd.read_parquet(mlflow.artifacts.download_artifacts(uri, dst_path=folder))


_REQUIRED = (
    "torch",
    "transformers",
    "safetensors",
    "pandas",
    "pyarrow",
    "pillow",
    "numpy",
    "scipy",
    "jaxtyping",
    "annotated-types",
    "mlflow",
)
_PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
