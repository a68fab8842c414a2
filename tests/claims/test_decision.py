"""Three outcomes of an interval, and the smallest effect that a design detects."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.claims import Estimate, cost_table, judge
from diysink.claims.decision import decide, detectable
from diysink.resampling import Bootstrap
from tests.claims.conftest import CLAIMS, ROLES, compared, make_costs, with_tables

ZERO = Estimate.exact(0.0)


@pytest.mark.parametrize(
    ("low", "high", "verdict", "finding"),
    [  # of "above 0", smallest effect of interest 2
        (1.0, 3.0, "shown", "effect"),
        (0.5, 1.0, "shown", "smaller effect"),
        (-1.0, 3.0, "undecided", "too wide"),
        (-1.0, 2.0, "undecided", "too wide"),
        (-0.1, 0.1, "refuted", "no effect"),
        (-1.0, -0.5, "refuted", "contrary"),
    ],
)
def test_an_interval_is_held_against_the_limit_and_the_smallest_effect(low, high, verdict, finding):
    assert decide(Estimate((low + high) / 2, low, high), ZERO, 2, 0.0) == (verdict, finding)


def test_a_big_word_is_not_shown_by_any_effect():
    """Above 3 times, where 1 is no effect."""
    limit = Estimate.exact(3.0)
    small, none, wide = Estimate(1.05, 1.03, 1.07), Estimate(1.0, 0.9, 1.1), Estimate(3.1, 2.9, 3.3)
    assert decide(small, limit, None, 1.0) == ("refuted", "smaller effect")
    assert decide(none, limit, None, 1.0) == ("refuted", "no effect")
    assert decide(wide, limit, None, 1.0) == ("undecided", "too wide")


ENDS = st.floats(-5, 5)


@given(st.tuples(ENDS, ENDS), st.floats(0, 3))
def test_shown_and_refuted_exclude_each_other_and_widening_undecides(ends, smallest):
    low, high = sorted(ends)
    verdict, _ = decide(Estimate(low, low, high), ZERO, smallest, 0.0)
    assert (verdict == "shown") == (low > 0)
    assert (verdict == "refuted") == (low <= 0 and high < smallest)
    assert decide(Estimate(low, -6.0, 6.0), ZERO, smallest, 0.0)[0] == "undecided"


def test_a_design_shows_the_detectable_effect_in_four_of_five():
    """Means of 50 images: of a true effect of just that size, 80 % of intervals exclude 0."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4000, 50))
    error = values.std(axis=1, ddof=1).mean() / 50**0.5
    size = detectable(Estimate(0.0, -1.96 * error, 1.96 * error), 0.95)
    means = values.mean(axis=1) + size
    assert (means - 1.96 * error > 0).mean() == pytest.approx(0.8, abs=0.02)
    assert np.isnan(detectable(Estimate(1.0), 0.95))


def one(variant, baseline, group="all", **row):
    """The comparisons, one of which comes out so."""
    table = with_tables().tables["comparisons"]
    key = {"variant": ROLES[variant], "baseline": ROLES[baseline], "group": group}
    other = ~table[list(key)].eq(pd.Series(key)).all(axis=1)
    return pd.concat([table[other], pd.DataFrame([compared(**key, **row)])])


def found(number, comparisons=None, **tables):
    """Verdict and finding of one claim."""
    tables |= {} if comparisons is None else {"comparisons": comparisons}
    row = judge(CLAIMS, with_tables(**tables), induced=True)[0].set_index("number").loc[number]
    return row["verdict"], row["finding"]


def two(value, half, **others):
    """Claim 10 where the two models, trained apart, come out so."""
    return found(10, one("dual", "parameter_matched", value=value, half=half, apart=True, **others))


def test_claim_10_a_true_gain_that_trainings_hide():
    """+2.9 points, sure over images; five trainings with a standard deviation of 10 points."""
    table = one("dual", "parameter_matched", value=0.029, half=0.01, seeds=5, apart=True)
    table = table.assign(training_low=-0.10, training_high=0.16, p_holm=0.6)
    assert found(10, table) == ("undecided", "too wide")


def test_claim_10_a_precise_zero_a_loss_and_a_lucky_training():
    assert two(0.0, 0.002, seeds=5, p=1.0) == ("refuted", "no effect")
    assert two(-0.05, 0.02, seeds=5, p=1e-9) == ("refuted", "contrary")
    assert two(0.05, 0.02, seeds=5, p=1e-9) == ("shown", "effect")
    for value in (0.015, -0.015, 0.0):
        assert two(value, 0.011, p=0.01) == ("undecided", "one training")


def test_claim_9_as_it_was_measured_once():
    table = one("front", "stock", value=0.004, half=0.007, p=1.0)
    assert found(9, table) == ("undecided", "too wide")
    table = one("front", "end", value=0.015, half=0.011, p=0.064)
    assert found(9, table) == ("undecided", "control fails")


def test_claim_12_is_about_the_median_whatever_the_rounds_scatter():
    """Rounds from 1.02 to 1.22 times; the same ratios twenty times over narrow the interval."""
    few, many = (make_costs(reweight=1.12, spread=0.1) for _ in range(2))
    for cost in many["answer-miniature"]["latency"].values():
        cost["ratios"] = cost["ratios"] * 20
    widths = []
    for costs in (few, many):
        table = cost_table(costs, Bootstrap(500))
        assert found(12, costs=table) == ("shown", "effect")
        [row] = table.query("metric == 'latency' and condition == 'reweight'").to_dict("records")
        assert row["value"] == pytest.approx(1.12)
        widths.append(row["high"] - row["low"])
    assert widths[1] < widths[0] / 3
    alike = make_costs(reweight=1.24, cot=1.26, spread=0.0)
    assert found(12, costs=cost_table(alike, Bootstrap(500))) == ("refuted", "contrary")


def test_claims_1_and_2_ask_what_their_words_say():
    tables = with_tables().tables
    attention, sinks = tables["attention"].copy(), tables["sinks"].copy()
    true = attention["control"] == "none"
    ratio, rho = (true & (attention["metric"] == m) for m in ("attention ratio", "spearman"))
    attention.loc[ratio, ["value", "low", "high"]] = 1.05, 1.03, 1.07
    attention.loc[rho, ["value", "low", "high"]] = 0.03, 0.02, 0.04
    shuffled = ~true & (attention["metric"] == "attention ratio")
    attention.loc[shuffled, ["value", "low", "high"]] = 1.0, 0.99, 1.01
    assert found(1, attention=attention) == ("refuted", "smaller effect")
    common = sinks["metric"] == "common"
    sinks.loc[common, ["value", "low", "high"]] = 0.51, 0.41, 0.61
    assert found(2, sinks=sinks) == ("refuted", "contrary")


def test_a_benchmark_of_one_round_decides_nothing():
    costs = make_costs()
    for cost in costs["answer-miniature"]["latency"].values():
        cost["ratios"] = cost["ratios"][:1]
    table = cost_table(costs, Bootstrap(500))
    assert table.loc[table["metric"] == "latency", ["low", "high"]].isna().all(axis=None)
    assert found(12, costs=table)[0] == "not measurable here"
