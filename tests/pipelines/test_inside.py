"""The nodes that look inside, on a tiny random model through its three checkpoints."""

import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import save_file

from diysink.analysis.replacement import replaced_answers
from diysink.artifact import write_manifest
from diysink.encoders import Encoder, load_vision_tower
from diysink.model import Parts, assemble
from diysink.records import Turn, write_shards
from diysink.sinks import SinkProfile
from pipelines.analyze import inside

PLACE = {"connector": "single", "seed": 0, "split": "test", "batch": 4}
SETTINGS = {
    "level": 0.9,
    "resamples": 30,
    "massive": {"ratio": 20.0, "times": 10.0, "dimensions": None},
    "curve": {"points": 6, "bandwidth": 0.2},
    "layers": PLACE | {"items": 10, "max_new_tokens": 3},
    "dimensions": PLACE
    | {"images": 10, "top": 4, "checkpoints": ["untrained", "aligned", "finetuned"]},
    "criteria": PLACE | {"images": 10},
    "function": PLACE | {"images": 10},
    "replacement": PLACE | {"items": 10, "max_new_tokens": 3, "metric": "exact"},
}
ALIGN = {"arrangement": {"single": "natural"}}
pytestmark = pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)


@pytest.fixture
def stage(parts, tiny_records, tmp_path):
    """Folders as the earlier stages leave them."""
    items = [
        dataclasses.replace(
            record,
            conversations=(Turn("human", "<image>\na b"), Turn("gpt", "c")),
            group=("global", "local", None)[i % 3],
        )
        for i, record in enumerate(tiny_records)
    ]
    write_shards(tmp_path / "records" / "test", items)
    write_manifest(tmp_path / "records", kind="records")
    made = assemble(
        Parts(encoder=str(parts / "encoder"), language=str(parts / "language")),
        None,
        connector="single",
        arrangement="natural",
    )
    made.model.config.tau = 3.5
    made.save(tmp_path / "models" / "single" / "seed0")
    write_manifest(tmp_path / "models", kind="models")
    connector = tmp_path / "aligned" / "single" / "seed0" / "connector.safetensors"
    connector.parent.mkdir(parents=True)
    weights = made.model.model.multi_modal_projector.state_dict()
    save_file({name: 2 * weight for name, weight in weights.items()}, connector)
    write_manifest(tmp_path / "aligned", kind="connectors")
    encoder = Encoder.of(load_vision_tower(str(parts / "encoder")), -2)
    profile = SinkProfile(
        encoder.identity, 3.5, "fixed", None, True, (), (), (1.0, 9.0), (1,), (0, 1), (3, 3), {}
    )
    (tmp_path / "profiles" / "induced").mkdir(parents=True)
    profile.save(tmp_path / "profiles" / "induced" / "profile.json")
    write_manifest(tmp_path / "profiles", kind="profiles")
    return tmp_path


def ask(node, stage, settings=SETTINGS):
    return node(stage / "records", stage / "models", settings, 0, str(stage / "work"), "cpu")


def dimensions(stage, parts, settings=SETTINGS):
    model = {"encoder": str(parts / "encoder"), "language": str(parts / "language"),
             "profile": "induced"}  # fmt: skip
    folders = (stage / name for name in ("records", "profiles", "aligned", "models"))
    return inside.find_dimensions(*folders, model, ALIGN, settings, 0, str(stage / "work"), "cpu")


def seen():
    rng = np.random.default_rng(0)
    norms = rng.lognormal(2, 0.4, (10, 9))
    return pd.DataFrame(
        {
            "id": np.repeat([f"q{i}" for i in range(10)], 9),
            "image": np.repeat([f"i{i // 2}" for i in range(10)], 9),
            "group": np.repeat(np.array(["global", None] * 5, dtype=object), 9),
            "norm": norms.ravel(),
            "attention": (norms / norms.sum()).ravel(),
        }
    )


def test_curves_and_correlations_have_their_controls(parts):
    curve, rho = inside.curve_attention(seen(), SETTINGS, 0)
    assert set(curve["mask"]) == set(rho["mask"]) == {"true", "shuffled"}
    assert set(rho["group"]) == {"all", "global"}
    true = rho[(rho["mask"] == "true") & (rho["group"] == "all")].iloc[0]
    assert true["rho"] == pytest.approx(1)


def test_layers_criteria_functions_and_replacements_are_measured(stage):
    table = ask(inside.attend_by_layer, stage)
    assert {-1, 0, 1} == set(table["layer"])
    assert set(table["mask"]) == {"true", "shuffled"}
    shares, agreement = ask(inside.compare_criteria, stage)
    norm = shares[shares["criterion"] == "norm"].iloc[0]
    assert (norm["threshold"], norm["where"]) == (3.5, "vit")
    assert len(agreement)
    functions = ask(inside.tell_functions, stage)
    assert set(functions["where"]) == {"vit", "llm"}
    lost = ask(inside.replace_contents, stage)
    assert set(lost["tokens"]) == {"sink", "matched", "difference"}
    assert {"all", "global", "local"} == set(lost["group"])


def test_dimensions_are_told_at_each_checkpoint(stage, parts):
    table, overlap = dimensions(stage, parts)
    assert list(dict.fromkeys(table["checkpoint"])) == ["untrained", "aligned", "finetuned"]
    assert (table["n_images"] <= 10).all()
    loud = {
        name: part[(part["layer"] == 1) & (part["kind"] == "vsink")]["ratio"].tolist()
        for name, part in table.groupby("checkpoint")
    }
    assert loud["aligned"] != loud["finetuned"]  # the connector is twice as loud
    assert set(overlap["sets"]) == {"leading"}
    wrong = SETTINGS | {"dimensions": SETTINGS["dimensions"] | {"checkpoints": ["last"]}}
    with pytest.raises(ValueError, match="there are untrained, aligned and finetuned"):
        dimensions(stage, parts, wrong)


def test_a_second_run_goes_on_where_the_first_stopped(stage, monkeypatch):
    """Killed in the second of three batches: the first is not measured again."""
    module = sys.modules[replaced_answers.__module__]
    real, calls = replaced_answers, []

    def dies(answerer, questions, *rest):
        if calls:
            raise KeyboardInterrupt
        calls.append(len(questions.texts))
        return real(answerer, questions, *rest)

    monkeypatch.setattr(module, "replaced_answers", dies)
    with pytest.raises(KeyboardInterrupt):
        ask(inside.replace_contents, stage)

    def counts(answerer, questions, *rest):
        calls.append(len(questions.texts))
        return real(answerer, questions, *rest)

    monkeypatch.setattr(module, "replaced_answers", counts)
    ask(inside.replace_contents, stage)
    assert calls == [4, 4, 2]


def test_what_is_turned_off_leaves_empty_tables(stage, parts):
    names = ("curve", "layers", "dimensions", "criteria", "function", "replacement")
    off = SETTINGS | dict.fromkeys(names)
    assert all(table.empty for table in inside.curve_attention(seen(), off, 0))
    assert all(t.empty for t in inside.curve_attention(pd.DataFrame(), SETTINGS, 0))
    assert all(table.empty for table in dimensions(stage, parts, off))
    assert ask(inside.attend_by_layer, stage, off).empty
    assert all(table.empty for table in ask(inside.compare_criteria, stage, off))
    assert ask(inside.tell_functions, stage, off).empty
    assert ask(inside.replace_contents, stage, off).empty
