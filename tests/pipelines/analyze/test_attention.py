"""Attention by norm, kind, layer and weight, as nodes: on a tiny random model."""

import numpy as np
import pandas as pd
import pytest

from pipelines.analyze.attention import (
    attend_by_layer,
    curve_attention,
    measure_attention,
    tabulate_attention,
    weigh_sinks,
)
from tests.pipelines.analyze.conftest import PLACE

ANSWERS = PLACE | {"items": 10, "max_new_tokens": 3}
SETTINGS = {
    "level": 0.9,
    "resamples": 30,
    "massive": {"ratio": 20.0, "times": 10.0, "dimensions": None},
    "attention": ANSWERS | {"bins": 5},
    "curve": {"points": 6, "bandwidth": 0.2},
    "layers": ANSWERS,
    "weights": ANSWERS | {"weights": [1, 2], "layers": None},
}
OFF = SETTINGS | dict.fromkeys(("attention", "curve", "layers", "weights"))
TOKENS = 9
pytestmark = pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)


def measure(stage, settings=SETTINGS):
    folders = (stage / "records", stage / "models")
    return measure_attention(*folders, settings, str(stage / "work"), "cpu")


def seen():
    rng = np.random.default_rng(0)
    norms = rng.lognormal(2, 0.4, (10, TOKENS))
    return pd.DataFrame(
        {
            "id": np.repeat([f"q{i}" for i in range(10)], TOKENS),
            "image": np.repeat([f"i{i // 2}" for i in range(10)], TOKENS),
            "group": np.repeat(np.array(["global", None] * 5, dtype=object), TOKENS),
            "norm": norms.ravel(),
            "sink": norms.ravel() > 9,
            "attention": (norms / norms.sum()).ravel(),
        }
    )


def test_attention_is_measured_by_item_and_token(stage):
    table = measure(stage)
    assert len(table) == 10 * TOKENS
    assert table["id"].nunique() == 10
    assert table.groupby("id")["token"].apply(list).map(lambda x: x == list(range(TOKENS))).all()
    assert set(table["group"].dropna()) == {"global", "local"}
    assert table["sink"].any()
    assert not table["sink"].all()
    assert table.groupby("id")["attention"].sum().between(0, 1).all()


def test_tables_have_the_measurement_and_its_control(stage):
    by_norm, by_kind = tabulate_attention(measure(stage), SETTINGS, 0)
    assert set(by_norm["norms"]) == set(by_kind["norms"]) == {"true", "shuffled"}
    assert set(by_kind["group"]) == {"all", "global", "local"}
    for name in ("true", "shuffled"):
        assert by_norm[by_norm["norms"] == name]["n_tokens"].sum() == 10 * TOKENS
    kinds = by_kind[by_kind["group"] == "all"].set_index(["norms", "kind"])
    assert kinds.loc[("true", "sink"), "n_tokens"] == kinds.loc[("shuffled", "sink"), "n_tokens"]


def test_curves_and_correlations_have_their_controls(parts):
    curve, rho = curve_attention(seen(), SETTINGS, 0)
    assert set(curve["mask"]) == set(rho["mask"]) == {"true", "shuffled"}
    assert set(rho["group"]) == {"all", "global"}
    whole = rho[rho["group"] == "all"].set_index("mask")["rho"]
    assert whole["true"] == pytest.approx(1)
    assert abs(whole["shuffled"]) < 0.5


def test_layers_and_weights_are_measured(ask):
    table = ask(attend_by_layer, SETTINGS)
    assert {-1, 0, 1} == set(table["layer"])
    assert set(table["mask"]) == {"true", "shuffled"}
    weighed = ask(weigh_sinks, SETTINGS)
    assert set(weighed["weight"]) == {1, 2}


def test_what_is_turned_off_leaves_empty_tables(stage, ask):
    assert measure(stage, OFF).empty
    assert all(table.empty for table in tabulate_attention(pd.DataFrame(), OFF, 0))
    assert all(table.empty for table in curve_attention(seen(), OFF, 0))
    assert all(table.empty for table in curve_attention(pd.DataFrame(), SETTINGS, 0))
    assert ask(attend_by_layer, OFF).empty
    assert ask(weigh_sinks, OFF).empty
