"""Verdicts over tau and layers, on planted tables."""

import pandas as pd
import pytest

from diysink.claims import Tables, robustness
from tests.claims.conftest import CLAIMS, make_tables, verdicts, with_tables
from tests.claims.test_claims import at

ALL = {
    ("tau", "sinks per image"), ("tau", "attention: sink over other"),
    ("layer", "attention: sink less other"), ("layer", "relevance broad"), ("layer", "probes, vit"),
    ("layer", "probes, llm"),
}  # fmt: skip
SWEPT = {"relevance": "relevance broad", "words": "words of sinks", "probes": "probes, vit"}


def line(tables, parameter, claim):
    table = robustness(CLAIMS, tables)
    chosen = table[(table["parameter"] == parameter) & (table["claim"] == claim)]
    return chosen.set_index("setting")


def test_every_entry_with_tables_is_judged(tables):
    table = robustness(CLAIMS, tables)
    assert set(zip(table["parameter"], table["claim"], strict=True)) == ALL
    assert set(table["verdict"]) == {"shown"}
    assert not table["flips"].any()
    assert robustness(CLAIMS, Tables(dict.fromkeys(make_tables()))).empty


def test_a_multiple_of_tau_with_many_sinks_flips():
    where = {"metric": "sinks per image", "tau": 0.5}
    spoilt = at(make_tables()["attention"], where, value=30.0, low=29.0, high=31.0)
    found = line(with_tables(attention=spoilt), "tau", "sinks per image")
    assert found["verdict"].tolist() == ["refuted", "shown", "shown"]
    assert found["flips"].tolist() == [True, False, False]
    assert found["chosen"].tolist() == [False, True, False]


def test_a_multiple_without_sinks_has_no_ratio_and_flips_nothing():
    table = make_tables()["attention"]
    gone = (table["metric"] == "attention ratio") & (table["tau"] == 2.0)
    found = line(with_tables(attention=table[~gone]), "tau", "attention: sink over other")
    assert found["verdict"].tolist() == ["shown", "shown", "not measurable here"]
    assert not found["flips"].any()


def make_sweep(spoilt, taus=(0.5, 1.0, 2.0)):
    """All is shown, except at one multiple, where sinks are surely behind any other token."""
    tables = []
    for tau in taus:
        for name in SWEPT:
            table = make_tables()[name].assign(analysis=name, tau=tau)
            if tau == spoilt:
                behind = table.assign(value=-table["value"], low=-table["high"], high=-table["low"])
                table = behind.where(table["metric"] != "selectivity", table)
            tables.append(table)
    return pd.concat(tables)


@pytest.mark.parametrize(("spoilt", "flips"), [(2.0, [2.0]), (1.0, [0.5, 2.0])])
def test_swept_tables_are_judged_at_each_tau(spoilt, flips):
    tables = with_tables(tau_sweep=make_sweep(spoilt))
    for name in SWEPT.values():
        found = line(tables, "tau", name)
        assert found.index.tolist() == [0.5, 1.0, 2.0]
        assert found.index[found["flips"]].tolist() == flips
        assert found.index[found["chosen"]].tolist() == [1.0]
        assert found["verdict"].drop(spoilt).eq("shown").all()


def test_where_the_own_setting_was_not_measured_nothing_flips():
    sweep = make_sweep(2.0)
    sweep = sweep[(sweep["analysis"] != "words") | (sweep["tau"] != 1.0)]
    assert line(with_tables(tau_sweep=sweep), "tau", "words of sinks").empty


def test_layers_are_judged_one_by_one():
    where = {"layer": 0, "condition": "vsink", "control": "none"}
    table = at(make_tables()["attention_by_layer"], where, value=0.005, low=0.004, high=0.006)
    found = line(with_tables(attention_by_layer=table), "layer", "attention: sink less other")
    assert found.index.tolist() == [-1, 0, 1]
    assert found["verdict"].tolist() == ["shown", "refuted", "shown"]
    assert found["flips"].tolist() == [False, True, False]


def test_the_chosen_layer_is_that_of_the_claim(tables):
    table = robustness(CLAIMS, tables)
    chosen = table[table["chosen"] & (table["parameter"] == "layer")].set_index("claim")
    own = verdicts(tables)
    assert chosen["setting"].to_dict() == {
        "attention: sink less other": -1, "relevance broad": -1, "probes, vit": 1,
    }  # fmt: skip
    assert chosen.loc["relevance broad", "verdict"] == own[5]
    assert chosen.loc["probes, vit", "verdict"] == own[7]


def test_probes_inside_the_language_model_are_compared_with_the_claims_own_verdict():
    accuracy = {"where": "llm", "metric": "accuracy"}
    table = at(make_tables()["probes"], accuracy, value=0.0, low=0.0, high=0.0)
    tables = with_tables(probes=table)
    assert not line(tables, "layer", "probes, vit")["flips"].any()
    assert line(tables, "layer", "probes, llm")["flips"].all()


def test_what_is_undecided_flips_nothing():
    where = {"metric": "attention ratio", "control": "none", "tau": 2.0}
    wide = at(make_tables()["attention"], where, low=2.0, high=5.0)
    found = line(with_tables(attention=wide), "tau", "attention: sink over other")
    assert found["verdict"].tolist() == ["shown", "shown", "undecided"]
    assert not found["flips"].any()
