"""The paper's claims on planted tables: each holds, does not hold, and is not measurable."""

import pandas as pd
import pytest

from diysink.claims import Tables, cost_table, judge, sinks_table
from tests.claims.conftest import (
    CLAIMS,
    ROLES,
    make_costs,
    make_sinks,
    make_tables,
    verdicts,
    with_tables,
)  # fmt: skip

HOLDS, NOT, OPEN = "holds", "does not hold", "not measurable here"
USED = {
    1: ["attention"], 2: ["sinks"], 3: ["dimensions"], 4: ["dimensions"], 5: ["relevance"],
    6: ["words"], 7: ["probes"], 8: ["comparisons", "ablation"], 9: ["comparisons"],
    10: ["comparisons"], 11: ["comparisons"], 12: ["costs"],
}  # fmt: skip


def test_every_planted_claim_holds(tables):
    claims, parts = judge(CLAIMS, tables, induced=True)
    assert claims.set_index("number")["verdict"].to_dict() == dict.fromkeys(CLAIMS, HOLDS)
    assert set(parts["met"]) == {"yes"}
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


def behind(variant, baseline):
    """The comparison the other way round."""
    where = {"variant": ROLES[variant], "baseline": ROLES[baseline]}
    return lambda t: at(t, where, difference=-0.05, low=-0.08, high=-0.02)


def sinks(**changes):
    made = make_sinks()
    for name, change in changes.items():
        made[name] = change(made[name])
    return sinks_table(made["sink_verdicts"], made["sink_evidence"], {"control": "none"})


RATIO, RHO = {"metric": "attention ratio"}, {"metric": "spearman"}
SPOILT = [
    (1, "attention", lambda t: swap(t, "control", "none", "shuffled")),
    (1, "attention", lambda t: at(t, RATIO, value=3.3, low=3.1, high=3.5)),  # control too
    (1, "attention", lambda t: at(t, RHO, value=0.4, low=0.3, high=0.5)),
    (2, "sinks", lambda _: sinks(sink_verdicts=lambda t: t.assign(found=True))),  # control too
    (2, "sinks", lambda _: sinks(sink_evidence=lambda t: t.assign(low=0.3, high=0.4))),  # not few
    (2, "sinks", lambda _: sinks(sink_evidence=lambda t: t.assign(value=0.4))),  # not again
    (3, "dimensions", lambda t: at(t, {"sets": "massive"}, value=0.9)),
    (3, "dimensions", lambda t: at(t, {"sets": "leading"}, high=0.6)),  # may be the same
    (3, "dimensions", lambda t: t.assign(p_differ=0.3)),  # swapped, as far apart
    (4, "dimensions", lambda t: at(t, {"condition": "vsink"}, massive=False)),
    (4, "dimensions", lambda t: at(t, {"checkpoint": "untrained"}, value=40, high=41.0)),
    (4, "dimensions", lambda t: at(t, {"control": "random-matched"}, high=41.0)),
    (5, "relevance", turned),
    (5, "relevance", lambda t: t.assign(high=3.5)),  # random nonsinks reach sinks
    (6, "words", turned),
    (6, "words", lambda t: t.assign(value=0.7, low=0.6, high=0.8)),
    (7, "probes", lambda t: at(t, {"scope": "global"}, value=-0.5, low=-0.6, high=-0.4)),
    (7, "probes", lambda t: at(t, {"scope": "local"}, value=0.5, low=0.4, high=0.6)),
    (7, "probes", lambda t: at(t, {"metric": "selectivity"}, low=-0.1)),  # shuffled labels too
    (8, "comparisons", behind("sinks", "dual")),
    (8, "comparisons", behind("nonsinks", "sinks")),
    (8, "ablation", lambda t: t.assign(low=-0.1)),  # any few tokens do it
    (9, "comparisons", behind("front", "end")),
    (10, "comparisons", behind("dual", "parameter_matched")),
    (10, "comparisons", lambda t: t.assign(p_holm=0.2)),  # the interval alone is not enough
    (10, "comparisons", lambda t: t.assign(low=-0.01)),  # nor is the test
    (10, "comparisons", lambda t: t.assign(n_seeds=5, training_low=-0.1, training_high=0.16)),
    (11, "comparisons", behind("reweight", "dual")),
    (11, "comparisons", behind("cot", "random")),
    (12, "costs", lambda _: cost_table(make_costs(reweight=1.4))),
    (12, "costs", lambda _: cost_table(make_costs(cot=1.0))),
]


@pytest.mark.parametrize(("number", "name", "spoil"), SPOILT)
def test_a_spoilt_table_turns_the_verdict(number, name, spoil):
    assert verdicts(with_tables(**{name: spoil(make_tables()[name])}))[number] == NOT


def test_every_claim_is_spoilt_and_left_out_somewhere():
    assert {number for number, _, _ in SPOILT} == set(USED) == set(CLAIMS)


@pytest.mark.parametrize(("number", "name"), [(n, t) for n, names in USED.items() for t in names])
@pytest.mark.parametrize("empty", [None, pd.DataFrame()])
def test_a_missing_table_leaves_its_claims_open_and_no_other(number, name, empty):
    left = verdicts(with_tables(**{name: empty}))
    assert left[number] == OPEN
    assert all(left[other] == HOLDS for other, names in USED.items() if name not in names)


def test_without_massive_dimensions_the_claims_on_them_cannot_be_measured():
    table = make_tables()["dimensions"].assign(n_b=0, massive=False)
    assert [verdicts(with_tables(dimensions=table))[number] for number in (3, 4)] == [OPEN] * 2


def test_a_part_that_fails_decides_although_another_is_missing():
    table = make_tables()["attention"]
    failing = at(table[table["metric"] == "attention ratio"], RATIO, low=0.9)
    assert verdicts(with_tables(attention=failing))[1] == NOT


def test_of_nothing_nothing_is_claimed():
    claims, parts = judge(CLAIMS, Tables(dict.fromkeys(make_tables())), induced=True)
    assert set(claims["verdict"]) == {OPEN}
    assert claims["value"].isna().all()
    assert set(parts["met"]) == {"not measured"}


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
    assert claims.set_index("number").loc[7, "verdict"] == HOLDS
    assert verdicts(with_tables(probes=table[~table["condition"].str.contains("place")]))[7] == NOT
    assert parts.loc[parts["number"] == 7, "value"].tolist() == pytest.approx(
        [0.5, 0.65, 0.6, 0.65]
    )


def test_only_where_sinks_were_induced_is_anything_built_in(tables):
    induced, real = (judge(CLAIMS, tables, induced=flag)[0] for flag in (True, False))
    assert set(induced["built_in"]) == {"yes", "partly", "no"}
    assert set(real["built_in"]) == {"not induced"}
    assert set(real["why_built_in"]) == {""}
    assert real["verdict"].tolist() == induced["verdict"].tolist()
