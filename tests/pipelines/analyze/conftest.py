"""Folders as the earlier stages leave them: records and one fine-tuned model, tiny and random."""

import dataclasses

import pandas as pd
import pytest

from diysink.analysis import ANALYSES
from diysink.artifact import write_manifest
from diysink.records import Turn, write_shards
from pipelines.analyze.labels import label_images
from pipelines.analyze.settings import Declared
from pipelines.prepare.settings import Prepare
from tests.pipelines.test_conf import settings_of
from tests.tiny_models import assemble_tiny

TAU = 3.5


@pytest.fixture
def made(parts):
    """The model that is the only fine-tuned one."""
    made = assemble_tiny(parts, connector="single", arrangement="natural")
    made.model.config.tau = TAU
    return made


@pytest.fixture
def stage(made, tiny_records, tmp_path):
    """A folder of ``records`` and ``models``; global questions have one of two answers."""
    items = [
        dataclasses.replace(
            record,
            conversations=(Turn("human", "<image>\na b"), Turn("gpt", "cd"[i % 2])),
            group=("global", "global", "local", None)[i % 4],
            subtask="scene",
        )
        for i, record in enumerate(tiny_records)
    ]
    items += [dataclasses.replace(items[0], id="again")]  # an image once more
    write_shards(tmp_path / "records" / "test", items)
    write_manifest(tmp_path / "records", kind="records")
    made.save(tmp_path / "models" / "single" / "seed0")
    write_manifest(tmp_path / "models", kind="models")
    return tmp_path


BASE = settings_of("base")


def analyze_of(**settings):
    """Settings of the stage with every analysis left out but those that are given."""
    small = {"level": 0.9, "resamples": 50, "batch_size": 5, "max_new_tokens": 2}
    nothing = dict.fromkeys((*ANALYSES, "labels", "sweep"))
    return Declared.model_validate(BASE["analyze"].plain() | nothing | small | settings)


parts_once = pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)


def labels_of(stage, **settings):
    """Labels of the stage's images."""
    labels = {"split": "test", "groups": ["global"], "table": None} | settings
    prepare = Prepare.model_validate({"generate": {"test": {"kind": "questions", "images": 3}}})
    return label_images(stage / "records", prepare, analyze_of(labels=labels), 0)


def boxed(records, size):
    """A local label of each image, at its upper left."""
    return pd.DataFrame(
        [
            {
                "image": record.images[0].sha256, "attribute": "shape", "scope": "local",
                "label": "ef"[i % 2], "top": 0.0, "left": 0.0, "bottom": size, "right": size,
            }
            for i, record in enumerate(records)
        ]
    )  # fmt: skip
