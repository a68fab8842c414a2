"""Verdicts from planted tables; each turns when its input is spoilt, and says when it lacks one."""

import pandas as pd
import pytest

from diysink.claims import CLAIMS, Evidence, cost_table, judge
from diysink.claims.evidence import Roles
from tests.claims.conftest import make_costs, make_evidence, make_tables

HOLDS, NOT, OPEN = "holds", "does not hold", "not measurable here"
ROLES = Roles()


def verdicts(evidence):
    return judge(evidence)[0].set_index("number")["verdict"].to_dict()


def test_twelve_planted_claims_hold(evidence):
    claims, parts = judge(evidence)
    assert claims["number"].tolist() == list(range(1, 13))
    assert claims.set_index("number")["verdict"].to_dict() == dict.fromkeys(range(1, 13), HOLDS)
    assert set(parts["met"]) == {"yes"}
    for column in ("claim", "paper", "reason", "why_built_in"):
        assert claims[column].str.len().min() > 5


def test_every_claim_but_those_of_one_table_has_a_control(evidence):
    parts = judge(evidence)[1]
    with_control = set(parts.loc[parts["control"], "number"])
    assert set(range(1, 13)) - with_control == {10}  # whose baseline is the control


def swap(table, column, a, b):
    """The rows of a for those of b."""
    return table.assign(**{column: table[column].replace({a: b, b: a})})


def turned(table, value="value", low="low", high="high"):
    """Every number with the other sign."""
    return table.assign(**{value: -table[value], low: -table[high], high: -table[low]})


def where(table, column, equal, **values):
    """Other values in the rows whose column has this one."""
    changed = table.copy()
    changed.loc[table[column] == equal, list(values)] = list(values.values())
    return changed


def flip(table, pairs):
    """The sign of planned differences."""
    chosen = [pair in pairs for pair in zip(table["variant"], table["baseline"], strict=True)]
    turned = table[chosen]
    turned = turned.assign(
        difference=-turned["difference"], low=-turned["high"], high=-turned["low"]
    )
    return pd.concat([table[[not one for one in chosen]], turned])


SPOILT = [
    (1, "norm_attention", lambda t: swap(t, "mask", "true", "shuffled")),
    (1, "attention_by_kind", lambda t: swap(t, "norms", "true", "shuffled")),
    (1, "attention_by_kind", lambda t: t.assign(value=3.3, low=3.1, high=3.5)),  # control too
    (2, "sink_verdicts", lambda t: t.assign(found=True)),  # the control has sinks as well
    (2, "sink_evidence", lambda t: t.assign(low=0.3, high=0.4)),  # not few
    (2, "sink_evidence", lambda t: t.assign(value=0.4)),  # not found again
    (3, "dimension_overlap", lambda t: t.assign(jaccard=0.9, low=0.8, high=1.0)),
    (3, "dimension_overlap", lambda t: t.assign(high=0.6)),  # the sets may be the same
    (3, "dimension_overlap", lambda t: t.assign(p_differ=0.3)),  # swapped, as far apart
    (4, "sink_dimensions", lambda t: t.assign(massive=t["kind"] == "first")),
    (4, "sink_dimensions", lambda t: t.assign(
        ratio=t["ratio"].where(t["checkpoint"] == "finetuned", 40.0),
        high=t["high"].where(t["checkpoint"] == "finetuned", 41.0))),  # was there before
    (4, "sink_dimensions", lambda t: t.assign(
        high=t["high"].where(t["mask"] == "true", 41.0))),  # random tokens are as loud
    (5, "relevance_analysis", turned),
    (5, "relevance_analysis", lambda t: t.assign(high=3.5)),  # random tokens reach sinks
    (6, "words_analysis", turned),
    (6, "words_analysis", lambda t: t.assign(value=0.7, low=0.6, high=0.8)),
    (7, "probes_analysis", lambda t: where(t, "group", "all", value=-0.5, low=-0.6, high=-0.4)),
    (7, "probes_analysis", lambda t: where(t, "group", "all", value=0.5, low=0.4, high=0.6)),
    (7, "probes_analysis", lambda t: where(t, "metric", "selectivity", low=-0.1)),
    (8, "planned_comparisons", lambda t: flip(t, {(ROLES.sinks, ROLES.dual)})),
    (8, "planned_comparisons", lambda t: flip(t, {(ROLES.nonsinks, ROLES.sinks)})),
    (8, "ablation_analysis", lambda t: t.assign(low=-0.1)),  # any few tokens do it
    (9, "planned_comparisons", lambda t: flip(t, {(ROLES.front, ROLES.end)})),
    (10, "planned_comparisons", lambda t: flip(t, {(ROLES.dual, ROLES.parameter_matched)})),
    (10, "planned_comparisons", lambda t: t.assign(p_holm=0.2)),  # interval alone is not enough
    (10, "planned_comparisons", lambda t: t.assign(low=-0.01)),  # nor is the test
    (11, "planned_comparisons", lambda t: flip(t, {(ROLES.reweight, ROLES.dual)})),
    (11, "planned_comparisons", lambda t: flip(t, {(ROLES.cot, ROLES.random)})),
    (12, "costs", lambda t: cost_table(make_costs(reweight=1.4))),
    (12, "costs", lambda t: cost_table(make_costs(cot=1.0))),
]  # fmt: skip


@pytest.mark.parametrize(("number", "name", "spoil"), SPOILT)
def test_a_spoilt_input_turns_the_verdict(number, name, spoil):
    evidence = make_evidence(**{name: spoil(make_tables()[name])})
    assert verdicts(evidence)[number] == NOT


def test_every_claim_is_spoilt_somewhere():
    assert {number for number, _, _ in SPOILT} == {claim.number for claim in CLAIMS}


USED = {
    1: ("norm_attention", "attention_by_kind"), 2: ("sink_verdicts", "sink_evidence"),
    3: ("dimension_overlap",), 4: ("sink_dimensions",), 5: ("relevance_analysis",),
    6: ("words_analysis",), 7: ("probes_analysis",),
    8: ("planned_comparisons", "ablation_analysis"), 9: ("planned_comparisons",),
    10: ("planned_comparisons",), 11: ("planned_comparisons",), 12: ("costs",),
}  # fmt: skip


@pytest.mark.parametrize(("number", "name"), [(n, t) for n, names in USED.items() for t in names])
@pytest.mark.parametrize("empty", [None, pd.DataFrame()])
def test_a_missing_table_is_told_and_touches_no_other_claim(number, name, empty):
    evidence = make_evidence(**{name: empty})
    claims = judge(evidence)[0].set_index("number")
    assert claims.loc[number, "verdict"] == OPEN
    assert claims.loc[number, "reason"].startswith("Not measured: ")
    for other, names in USED.items():
        if name not in names:
            assert claims.loc[other, "verdict"] == HOLDS


def test_of_nothing_nothing_is_claimed():
    claims, parts = judge(Evidence({}, "encoder"))
    assert set(claims["verdict"]) == {OPEN}
    assert claims["value"].isna().all()
    assert set(parts["met"]) == {"not measured"}


def test_a_part_that_fails_decides_although_another_is_missing():
    spoilt = swap(make_tables()["attention_by_kind"], "norms", "true", "shuffled")
    assert verdicts(make_evidence(norm_attention=None, attention_by_kind=spoilt))[1] == NOT


def test_only_where_sinks_were_induced_is_anything_built_in(evidence):
    told = judge(evidence)[0]
    assert set(told["built_in"]) == {"yes", "partly", "no"}
    real = Evidence(evidence.tables, "induced", ("control",), induced=False)
    claims = judge(real)[0]
    assert set(claims["built_in"]) == {"not induced"}
    assert set(claims["why_built_in"]) == {""}
    assert claims["verdict"].tolist() == told["verdict"].tolist()  # told, never weighed
