"""The paper's claims on planted tables: each is shown, turned by what spoils it, and left open."""

import pandas as pd
import pytest

from diysink.claims import Tables, cost_table, judge, sinks_table
from tests.claims.conftest import (
    BOOTSTRAP,
    CLAIMS,
    ROLES,
    make_costs,
    make_sinks,
    make_tables,
    verdicts,
    with_tables,
)  # fmt: skip

SHOWN, REFUTED, UNDECIDED, OPEN = "shown", "refuted", "undecided", "not measurable here"
USED = {
    1: ["attention"], 2: ["sinks"], 3: ["dimensions"], 4: ["dimensions"], 5: ["relevance"],
    6: ["words"], 7: ["probes"], 8: ["comparisons"], 9: ["comparisons"],
    10: ["comparisons"], 11: ["comparisons"], 12: ["costs"],
}  # fmt: skip


def test_every_planted_claim_is_shown(tables):
    claims, parts = judge(CLAIMS, tables, induced=True)
    assert claims.set_index("number")["verdict"].to_dict() == dict.fromkeys(CLAIMS, SHOWN)
    assert set(parts["verdict"]) == {SHOWN}
    assert claims["value"].notna().all()


def test_every_claim_but_the_one_whose_baseline_is_its_control_has_a_control(tables):
    parts = judge(CLAIMS, tables, induced=True)[1]
    assert set(CLAIMS) - set(parts.loc[parts["control"], "number"]) == {10}


def swap(table, column, a, b):
    """The rows of a for those of b."""
    return table.assign(**{column: table[column].replace({a: b, b: a})})


def at(table, where, **columns):
    """The table with other numbers in the rows where columns have these values."""
    chosen = pd.Series(data=True, index=table.index)
    for column, value in where.items():
        chosen &= table[column] == value
    table = table.copy()
    for column, value in columns.items():
        table.loc[chosen, column] = value
    return table


def turned(table):
    """Every number with the other sign."""
    return table.assign(value=-table["value"], low=-table["high"], high=-table["low"])


def differs(variant, baseline, value, half=0.03, **others):
    """Another outcome of one comparison."""
    a, b = ROLES[variant], ROLES[baseline]
    ends = {"difference": value, "low": value - half, "high": value + half}
    return lambda t: at(t, {"variant": a, "baseline": b}, **ends, **others)


def costs(_=None, **others):
    return lambda _: cost_table(make_costs(**others), BOOTSTRAP)


def sinks(**changes):
    made = make_sinks()
    for name, change in changes.items():
        made[name] = change(made[name])
    return sinks_table(made["sink_verdicts"], made["sink_evidence"], {"control": "none"})


RATIO, RHO = {"metric": "attention ratio"}, {"metric": "spearman"}
SINK, OTHER, ALONE = (
    {"condition": condition, "control": "none"}
    for condition in ("sink - random-matched", "random-matched", "sink")
)
CONTROL, WIDE, NONE, SMALLER, CONTRARY = (
    "control fails", "too wide", "no effect", "smaller effect", "contrary",
)  # fmt: skip
SPOILT = [
    (1, "attention", lambda t: swap(t, "control", "none", "shuffled"), REFUTED, NONE),
    (1, "attention", lambda t: at(t, RATIO, value=3.5, low=3.3, high=3.7), UNDECIDED, CONTROL),
    (1, "attention", lambda t: at(t, RHO, value=0.4, low=0.3, high=0.5), UNDECIDED, CONTROL),
    (1, "attention", lambda t: at(t, {**RATIO, "control": "none"}, low=1.1, high=1.9), REFUTED,
     SMALLER),  # not several times
    (1, "attention", lambda t: at(t, {**RATIO, "control": "none"}, low=2.5, high=3.5), UNDECIDED,
     WIDE),
    (2, "sinks", lambda _: sinks(sink_verdicts=lambda t: t.assign(found=True)), UNDECIDED, CONTROL),
    (2, "sinks", lambda _: sinks(sink_evidence=lambda t: t.assign(low=0.3, high=0.4)), REFUTED,
     CONTRARY),  # not few
    (2, "sinks", lambda _: sinks(sink_evidence=lambda t: at(t, {"question": "stability"},
                                                           value=0.4)), UNDECIDED, CONTROL),
    (2, "sinks", lambda _: sinks(sink_evidence=lambda t: at(t, {"question": "common"},
                                                           value=0.51)), REFUTED, CONTRARY),
    (2, "sinks", lambda _: sinks(sink_evidence=lambda t: at(t, {"question": "common"},
                                                           value=0.92)), UNDECIDED, WIDE),
    (3, "dimensions", lambda t: at(t, {"sets": "massive"}, value=0.9), REFUTED, CONTRARY),
    (3, "dimensions", lambda t: at(t, {"sets": "leading"}, high=0.6), UNDECIDED, WIDE),
    (3, "dimensions", lambda t: t.assign(p_differ=0.3), UNDECIDED, CONTROL),  # swapped, as far
    (4, "dimensions", lambda t: at(t, {"condition": "vsink"}, massive=False), REFUTED, CONTRARY),
    (4, "dimensions", lambda t: at(t, {"checkpoint": "untrained"}, value=40, high=41.0), UNDECIDED,
     WIDE),
    (4, "dimensions", lambda t: at(t, {"control": "random-matched"}, high=41.0), UNDECIDED,
     CONTROL),
    (5, "relevance", turned, REFUTED, CONTRARY),
    (5, "relevance", lambda t: at(t, {"condition": "random-matched"}, high=3.5), UNDECIDED,
     CONTROL),  # random nonsinks reach sinks
    (6, "words", turned, REFUTED, CONTRARY),
    (6, "words", lambda t: at(t, SINK, value=0.0, low=-0.02, high=0.02), REFUTED, NONE),
    (6, "words", lambda t: at(t, OTHER, value=0.5, low=0.45, high=0.55), REFUTED, SMALLER),
    (6, "words", lambda t: at(t, {"control": "shuffled"}, value=0.7, high=0.8), UNDECIDED, CONTROL),
    (7, "probes", lambda t: at(t, {"scope": "global", "metric": "accuracy"}, value=-0.5, low=-0.6,
                               high=-0.4), REFUTED, CONTRARY),
    (7, "probes", lambda t: at(t, {"scope": "local", "metric": "accuracy"}, value=0.5, low=0.4,
                               high=0.6), REFUTED, CONTRARY),
    (7, "probes", lambda t: at(t, {"metric": "selectivity"}, low=-0.1), OPEN, CONTROL),  # blind
    (8, "comparisons", differs("sinks", "dual", -0.05), REFUTED, CONTRARY),
    (8, "comparisons", differs("sinks", "dual", 0.0), REFUTED, NONE),
    (8, "comparisons", differs("nonsinks", "dual", 0.0), UNDECIDED, WIDE),
    (8, "comparisons", differs("nonsinks", "sinks", -0.05), REFUTED, CONTRARY),
    (8, "comparisons", differs("sinks", "sinks_random", 0.0), UNDECIDED, CONTROL),  # any few do it
    (9, "comparisons", differs("front", "stock", -0.05), REFUTED, CONTRARY),
    (9, "comparisons", differs("front", "end", -0.05), UNDECIDED, CONTROL),
    (10, "comparisons", differs("dual", "parameter_matched", -0.05), REFUTED, CONTRARY),
    (10, "comparisons", lambda t: t.assign(p_holm=0.2), UNDECIDED, "not after correction"),
    (10, "comparisons", lambda t: t.assign(low=-0.01), UNDECIDED, WIDE),
    (10, "comparisons", lambda t: t.assign(separate=True), UNDECIDED, "one training"),
    (11, "comparisons", differs("reweight", "dual", -0.05), REFUTED, CONTRARY),
    (11, "comparisons", differs("cot", "dual", 0.0), UNDECIDED, WIDE),
    (11, "comparisons", differs("cot", "dual", 0.0, 0.001), REFUTED, NONE),
    (11, "comparisons", differs("cot", "random", -0.05), UNDECIDED, CONTROL),
    (12, "costs", costs(reweight=1.4), REFUTED, CONTRARY),
    (12, "costs", costs(cot=1.26), REFUTED, SMALLER),
    (12, "costs", costs(reweight=1.17, spread=0.2), UNDECIDED, WIDE),
]  # fmt: skip


@pytest.mark.parametrize(("number", "name", "spoil", "verdict", "finding"), SPOILT)
def test_a_spoilt_table_turns_the_verdict(number, name, spoil, verdict, finding):
    tables = with_tables(**{name: spoil(make_tables()[name])})
    row = judge(CLAIMS, tables, induced=True)[0].set_index("number").loc[number]
    assert (row["verdict"], row["finding"]) == (verdict, finding)


def test_every_claim_is_spoilt_and_left_out_somewhere():
    assert {number for number, *_ in SPOILT} == set(USED) == set(CLAIMS)


@pytest.mark.parametrize(("number", "name"), [(n, t) for n, names in USED.items() for t in names])
@pytest.mark.parametrize("empty", [None, pd.DataFrame()])
def test_a_missing_table_leaves_its_claims_open_and_no_other(number, name, empty):
    left = verdicts(with_tables(**{name: empty}))
    assert left[number] == OPEN
    assert all(left[other] == SHOWN for other, names in USED.items() if name not in names)


def test_without_massive_dimensions_the_claims_on_them_cannot_be_measured():
    table = make_tables()["dimensions"].assign(n_b=0, massive=False)
    assert [verdicts(with_tables(dimensions=table))[number] for number in (3, 4)] == [OPEN] * 2


def test_a_part_that_is_refuted_decides_although_another_is_missing():
    table = make_tables()["attention"]
    failing = at(table[table["metric"] == "attention ratio"], RATIO, low=0.9, high=1.1)
    assert verdicts(with_tables(attention=failing))[1] == REFUTED


def test_of_nothing_nothing_is_claimed():
    claims, parts = judge(CLAIMS, Tables(dict.fromkeys(make_tables())), induced=True)
    assert set(claims["verdict"]) == {OPEN}
    assert claims["value"].isna().all()
    assert set(parts["finding"]) == {"not measured"}


def test_a_control_encoder_that_was_not_measured_leaves_its_claim_open():
    made = make_sinks()
    table = sinks_table(made["sink_verdicts"][:1], made["sink_evidence"], {"control": "none"})
    assert verdicts(with_tables(sinks=table))[2] == OPEN


def test_local_attributes_are_compared_with_the_nonsinks_at_the_place_where_they_are_known():
    """Against them sinks are behind; random nonsinks know as little as sinks."""
    probes = make_tables()["probes"]
    local = {"scope": "local", "condition": "sink - random-matched"}
    near = probes[probes["scope"] == "local"].copy()
    near["condition"] = near["condition"].str.replace("random-matched", "place")
    table = pd.concat([at(probes, local, value=0.0, low=-0.1, high=0.1), near])
    claims, parts = judge(CLAIMS, with_tables(probes=table), induced=True)
    assert claims.set_index("number").loc[7, "verdict"] == SHOWN
    assert (
        verdicts(with_tables(probes=table[~table["condition"].str.contains("place")]))[7] == REFUTED
    )
    assert parts.loc[parts["number"] == 7, "value"].tolist() == pytest.approx(
        [0.5, 0.6, 0.65, 0.65]
    )


def test_only_where_sinks_were_induced_is_anything_built_in(tables):
    induced, real = (judge(CLAIMS, tables, induced=flag)[0] for flag in (True, False))
    assert set(induced["built_in"]) == {"yes", "partly", "no"}
    assert set(real["built_in"]) == {"not induced"}
    assert set(real["why_built_in"]) == {""}
    assert real["verdict"].tolist() == induced["verdict"].tolist()


def test_trainings_and_models_that_the_numbers_rest_on():
    table = make_tables()["comparisons"]
    five = table.assign(n_seeds=5, training_low=table["low"], training_high=table["high"])
    apart = five["baseline"].isin([ROLES["dual"], ROLES["random"]])
    tables = with_tables(comparisons=five.assign(separate=apart))
    claims = judge(CLAIMS, tables, induced=True)[0].set_index("number")
    assert claims["trainings"].to_dict() == {
        1: 1, 2: 0, 3: 1, 4: 1, 5: 0, 6: 1, 7: 0, 8: 5, 9: 5, 10: 5, 11: 5, 12: 0,
    }  # fmt: skip
    assert claims.loc[[9, 11], "trained_apart"].tolist() == ["no", "partly"]


def test_with_several_trainings_the_interval_over_them_decides():
    table = make_tables()["comparisons"].assign(n_seeds=5, separate=True)
    sure = table.assign(training_low=0.1, training_high=0.3)
    wide = table.assign(training_low=-0.10, training_high=0.16)
    assert verdicts(with_tables(comparisons=sure))[10] == SHOWN
    claims = judge(CLAIMS, with_tables(comparisons=wide), induced=True)[0]
    row = claims.set_index("number").loc[10]
    assert (row["verdict"], row["finding"], row["low"], row["high"]) == (
        UNDECIDED, WIDE, -0.10, 0.16,
    )  # fmt: skip
