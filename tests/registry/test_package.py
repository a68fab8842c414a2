"""The package answers questions elsewhere: from safetensors and its own code, never from pickle."""

import base64
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models.model import ModelInfo
from PIL import Image

from diysink.evaluation.benchmarks import BENCHMARKS
from diysink.evaluation.finetuned import FineTunedModel
from diysink.evaluation.predict import AnsweringModel, predict
from diysink.model import load
from diysink.registry import (
    PackagedModel,
    find_version,
    package_digest,
    package_model,
    promote,
    register,
)
from diysink.registry.package import read_predictions
from tests.registry.conftest import answers

# MLflow's own use of pandas.
pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")


def png(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (24, 24), colour).save(data, "PNG")
    return data.getvalue()


def asked(*images: bytes | str) -> pd.DataFrame:
    return pd.DataFrame({"image": list(images), "question": ["a b c"] * len(images)})


@pytest.fixture(scope="module")
def package(module_tracking: Path, saved_model: Path) -> ModelInfo:
    with mlflow.start_run():
        return package_model(
            saved_model,
            answers(0.5, n=10),
            asked(png("red")),
            tags={"git.revision": "abc"},
            max_new_tokens=4,
            device="cpu",
        )


def test_the_package_answers_as_the_model_does(package: ModelInfo, saved_model: Path) -> None:
    loaded = mlflow.pyfunc.load_model(package.model_uri)
    colours = ["red", "blue", "green"]
    found = loaded.predict(asked(*map(png, colours)))
    generator = load(saved_model)
    generator.max_new_tokens = 4
    images = [Image.new("RGB", (24, 24), colour) for colour in colours]
    assert found["answer"].tolist() == generator.answer(images, ["a b c"] * 3)


HOW: Any = {"benchmark": BENCHMARKS["test"], "variant": "v", "batch": 2}


@pytest.fixture
def records(tiny_records: Any) -> list[Any]:
    """One question each."""
    return [replace(record, conversations=record.conversations[:2]) for record in tiny_records][:5]


def test_a_package_is_evaluated_like_any_model(
    module_tracking: Path, sinking_model: Path, records: list[Any]
) -> None:
    with mlflow.start_run():
        made = package_model(
            sinking_model, answers(0.5, n=10), asked(png("red")), tags={}, max_new_tokens=4
        )
    packaged = PackagedModel(made.model_uri, "cpu")
    assert isinstance(packaged, AnsweringModel)
    generator = load(sinking_model)
    generator.max_new_tokens = 4
    own = predict(FineTunedModel(generator), records, **HOW)
    # It is not told the right answers, nor which images are simple.
    own["log_likelihood"] = np.nan
    table = predict(packaged, records, **HOW)
    pd.testing.assert_frame_equal(table, own)
    assert own["weight_sink"].nunique() > 1  # ReW's, and not ones


def test_an_older_package_that_tells_only_answers_is_evaluated(
    toy: Path, records: list[Any]
) -> None:
    table = predict(PackagedModel(str(toy)), records, **HOW)
    assert set(table["prediction"]) == {"red"}
    untold = ["route", "weight_sink", "weight_nonsink", "visual_tokens"]
    assert table[untold].isna().all(axis=None)


def test_requirements_are_versions_that_a_package_index_knows(package: ModelInfo) -> None:
    root = Path(mlflow.artifacts.download_artifacts(package.model_uri))
    lines = (root / "requirements.txt").read_text().split()
    assert {line.split("==")[0] for line in lines} >= {"torch", "transformers", "jaxtyping"}
    assert all("==" in line and "+" not in line for line in lines)


def test_bytes_and_base64_are_the_same_image(package: ModelInfo) -> None:
    loaded = mlflow.pyfunc.load_model(package.model_uri)
    text = base64.encodebytes(png("red")).decode()  # in lines, as MLflow's own examples have it
    first, second = loaded.predict(asked(png("red"), text))["answer"]
    assert first == second


def test_signature_example_tags_and_evidence_travel_along(package: ModelInfo) -> None:
    assert package.signature.inputs.input_names() == ["image", "question"]
    told = mlflow.pyfunc.load_model(package.model_uri).predict(asked(png("red")))
    assert package.signature.outputs.input_names() == list(told.columns)
    root = Path(mlflow.artifacts.download_artifacts(package.model_uri))
    assert (root / "input_example.json").is_file()
    assert (root / "code" / "diysink" / "model" / "generation.py").is_file()
    assert mlflow.get_logged_model(package.model_id).tags["git.revision"] == "abc"
    version = register(package, "toy", digest="d", tags={"digest.data": "e"})
    pd.testing.assert_frame_equal(read_predictions("toy", version), answers(0.5, n=10))
    assert mlflow.MlflowClient().get_model_version("toy", str(version)).tags["digest.data"] == "e"


def test_nothing_in_the_package_is_pickled(package: ModelInfo) -> None:
    root = Path(mlflow.artifacts.download_artifacts(package.model_uri))
    # Python caches the code of a package that was loaded.
    own = (p for p in root.rglob("*") if not {"code", "__pycache__"} & set(p.parts))
    kinds = {p.suffix for p in own if p.is_file()}
    assert kinds <= {"", ".safetensors", ".json", ".jinja", ".txt", ".yaml", ".py", ".parquet"}


def test_a_folder_with_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin, which loading would unpickle"):
        package_model(tmp_path, answers(0.5), asked(png("red")), tags={})


def test_a_package_that_does_not_answer_is_an_error(
    module_tracking: Path, saved_model: Path
) -> None:
    with mlflow.start_run(), pytest.raises(MlflowException, match="row 0: the image"):
        package_model(saved_model, answers(0.5, n=10), asked(b"no image"), tags={}, device="cpu")


def test_the_same_package_is_known_again(package: ModelInfo, saved_model: Path) -> None:
    digest = package_digest(saved_model, answers(0.5, n=10))
    assert find_version("toy", digest) is None
    version = register(package, "toy", digest=digest, tags={})
    assert find_version("toy", digest) == version
    shuffled = answers(0.5, n=10).sample(frac=1, random_state=0)
    assert package_digest(saved_model, shuffled) == digest
    wrong = answers(0.5, n=10)
    wrong["correct"] = np.roll(wrong["correct"], 1)
    assert find_version("toy", package_digest(saved_model, wrong)) is None


ELSEWHERE = """
import mlflow, pandas as pd, sys
model = mlflow.pyfunc.load_model("models:/toy@champion")
image = open(sys.argv[1], "rb").read()
answer = model.predict(pd.DataFrame({"image": [image], "question": ["a b c"]}))["answer"][0]
import diysink
print([answer, diysink.__file__])
"""


@pytest.mark.slow
def test_the_champion_answers_in_another_process_with_its_own_code(
    package: ModelInfo, module_tracking: Path, tmp_path: Path
) -> None:
    register(package, "toy", digest="d", tags={})
    promote("toy", margin=0.0)
    (tmp_path / "image.png").write_bytes(png("red"))
    variables = os.environ | {
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "image.png")],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer, library = eval(done.stdout.splitlines()[-1])
    expected = mlflow.pyfunc.load_model(package.model_uri).predict(asked(png("red")))["answer"][0]
    assert answer == expected
    assert Path(library).is_relative_to(module_tracking)
