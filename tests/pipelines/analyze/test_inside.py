"""Dimensions and functions as nodes: on a tiny random model and its checkpoints."""

import pytest
from safetensors.torch import save_file

from diysink.artifact import write_manifest
from diysink.encoders import Encoder, load_vision_tower
from diysink.sinks import SinkProfile
from pipelines.analyze.inside import find_dimensions, tell_functions
from tests.pipelines.analyze.conftest import PLACE, TAU
from tests.pipelines.test_conf import changed, settings_of

IMAGES = PLACE | {"images": 10}
CHECKPOINTS = ["untrained", "aligned", "finetuned"]
SETTINGS = {
    "level": 0.9,
    "resamples": 30,
    "massive": {"ratio": 20.0, "times": 10.0, "dimensions": None},
    "dimensions": IMAGES | {"top": 4, "checkpoints": CHECKPOINTS},
    "function": IMAGES,
}
OFF = SETTINGS | dict.fromkeys(("dimensions", "function"))
BASE = settings_of("base")
ALIGN = BASE["align"]
pytestmark = pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)


@pytest.fixture
def dimensions(stage, made, parts, ask):
    """The node, with a profile and an aligned connector that is twice as loud."""
    connector = stage / "aligned" / "single" / "seed0" / "connector.safetensors"
    connector.parent.mkdir(parents=True)
    weights = made.model.model.multi_modal_projector.state_dict()
    save_file({name: 2 * weight for name, weight in weights.items()}, connector)
    write_manifest(stage / "aligned", kind="connectors")
    encoder = Encoder.of(load_vision_tower(str(parts / "encoder")), -2)
    profile = SinkProfile(
        encoder.identity, TAU, "fixed", None, True, (), (), (1.0, 9.0), (1,), (0, 1), (3, 3), {}
    )
    (stage / "profiles" / "induced").mkdir(parents=True)
    profile.save(stage / "profiles" / "induced" / "profile.json")
    write_manifest(stage / "profiles", kind="profiles")
    model = changed(BASE["model"], encoder=str(parts / "encoder"), language=str(parts / "language"))
    folders = (stage / "profiles", stage / "aligned")
    return lambda settings: ask(find_dimensions, settings, *folders, model, ALIGN)


def test_dimensions_are_told_at_each_checkpoint(dimensions):
    table, overlap = dimensions(SETTINGS)
    assert list(dict.fromkeys(table["checkpoint"])) == CHECKPOINTS
    assert (table["n_images"] <= 10).all()
    loud = {
        name: part[(part["layer"] == 1) & (part["kind"] == "vsink")]["ratio"].tolist()
        for name, part in table.groupby("checkpoint")
    }
    assert loud["aligned"] != loud["finetuned"]  # the connector is twice as loud
    assert set(overlap["sets"]) == {"leading"}


def test_a_checkpoint_that_there_is_not_is_refused(dimensions):
    wrong = SETTINGS | {"dimensions": SETTINGS["dimensions"] | {"checkpoints": ["last"]}}
    with pytest.raises(ValueError, match="has last; there are untrained, aligned and finetuned"):
        dimensions(wrong)


def test_functions_are_told_of_both_models(ask):
    assert set(ask(tell_functions, SETTINGS)["where"]) == {"vit", "llm"}


def test_what_is_turned_off_leaves_empty_tables(ask, dimensions):
    assert all(table.empty for table in dimensions(OFF))
    assert ask(tell_functions, OFF).empty
