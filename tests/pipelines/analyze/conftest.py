"""Folders as the earlier stages leave them: records and one fine-tuned model, tiny and random."""

import dataclasses

import pytest

from diysink.artifact import write_manifest
from diysink.model import Parts, assemble
from diysink.records import Turn, write_shards

PLACE = {"connector": "single", "seed": 0, "split": "test", "batch": 4}
"""Where every analysis of these tests looks; ``parts`` is one kind of model in all of them."""
TAU = 3.5


@pytest.fixture
def made(parts):
    """The model that is the only fine-tuned one."""
    made = assemble(
        Parts(encoder=str(parts / "encoder"), language=str(parts / "language")),
        None,
        connector="single",
        arrangement="natural",
    )
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


@pytest.fixture
def ask(stage):
    """Run a node on the stage; whatever it takes besides goes between model and parameters."""

    def run(node, analyze, *between, workspace="work"):
        folders = (stage / "records", stage / "models")
        return node(*folders, *between, analyze, 0, str(stage / workspace), "cpu")

    return run
