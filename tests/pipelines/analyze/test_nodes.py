"""The node of all analyses: on a tiny random model at each of its checkpoints."""

import pandas as pd
import pytest
from safetensors.torch import save_file

from diysink.analysis import ANALYSES
from diysink.analysis.table import select
from diysink.artifact import write_manifest
from diysink.encoders import Encoder, load_vision_tower
from diysink.sinks import SinkProfile
from pipelines.analyze.nodes import run_analyses
from tests.pipelines.analyze.conftest import BASE, TAU, analyze_of
from tests.pipelines.test_conf import changed

CHECKPOINTS = ["untrained", "aligned", "finetuned"]
DIMENSIONS = {"max_samples": 10, "top": 4, "checkpoints": CHECKPOINTS}
pytestmark = pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)


@pytest.fixture
def analyses(stage, made, parts):
    """The node, with a profile and an aligned connector that is twice as large."""
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
    folders = (stage / name for name in ("records", "models", "profiles", "aligned"))
    given = (*folders, pd.DataFrame(), pd.DataFrame(), model, BASE["align"], BASE["evaluate"])
    return lambda settings: run_analyses(*given, settings, 0, str(stage / "work"), "cpu")


def test_an_analysis_is_made_at_each_of_its_checkpoints(analyses):
    made = analyses(analyze_of(batch_size=4, dimensions=DIMENSIONS))
    table = made["dimensions_analysis"]
    assert list(dict.fromkeys(table["checkpoint"])) == CHECKPOINTS
    assert (table["n_images"] <= 10).all()
    ratios = select(table, metric="ratio", layer=1, condition="vsink")
    values = {name: part["value"].tolist() for name, part in ratios.groupby("checkpoint")}
    assert values["aligned"] != values["finetuned"]  # the connector is twice as large
    assert made["analyses_left_out"] == {}
    assert all(made[f"{name}_analysis"].empty for name in ANALYSES if name != "dimensions")
