"""Rules on single numbers, verdicts from parts, and a claim from outside."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.claims import Claim, Estimate, Part, Tables, Verdict, judge
from diysink.claims.judge import judge_parts
from diysink.claims.results import Result, conclude
from tests.claims.conftest import NAN

ROWS = pd.DataFrame(
    {
        "metric": ["a", "b", "c"],
        "value": [2.0, 0.0, 3.0],
        "low": [1.5, -0.5, NAN],
        "high": [2.5, 0.5, NAN],
        "n_images": 9,
        "found": [True, False, True],
        "threshold": [3.0, 3.0, 3.0],
        "tokens": [2, 2, 2],
    }
)
TABLES = Tables({"toy": ROWS, "none": None})


def toy(metric="a", rule="above", table="toy", **others):
    return Part({"metric": metric}, rule, table, "a toy", **others)


def met(*parts):
    return [result.met for result in judge_parts(parts, TABLES)]


@given(st.lists(st.sampled_from([True, False, None]), max_size=6))
def test_one_that_fails_decides_and_one_not_measured_leaves_open(marks):
    verdict = conclude([Result("a", "b", mark) for mark in marks])
    if False in marks:
        assert verdict is Verdict.DOES_NOT_HOLD
    elif None in marks or not marks:
        assert verdict is Verdict.NOT_MEASURABLE
    else:
        assert verdict is Verdict.HOLDS


@pytest.mark.parametrize(
    ("rule", "below", "inside", "above"),
    [  # with limits of 1, 2 and 3, below, inside and above the interval of 1.5 to 2.5
        ("above", True, False, False),
        ("below", False, False, True),
        ("at most", False, False, True),
        ("value above", True, False, False),
        ("value below", False, False, True),
        ("value at least", True, True, False),
    ],
)
def test_each_rule_at_limits_below_inside_and_above_the_interval(rule, below, inside, above):
    limits = (1.0, 2.0, 3.0)
    assert met(*(toy(rule=rule, limit=limit) for limit in limits)) == [below, inside, above]


def test_a_limit_that_an_interval_touches_is_reached_at_most_only():
    assert met(toy(rule="at most", limit=2.5), toy(rule="below", limit=2.5)) == [True, False]
    assert met(toy(rule="above", limit=1.5)) == [False]


def test_rules_for_intervals_decide_nothing_without_one():
    assert met(toy("c", limit=1.0), toy("c", "value above", limit=1.0)) == [None, True]


def test_a_row_in_place_of_a_limit():
    than = {"than": {"metric": "b"}}
    assert met(toy("a", "above", **than), toy("a", "below", **than)) == [True, False]
    assert met(toy("a", "above", than={"metric": "c"})) == [None]
    assert met(toy("a", "above", than={"metric": "d"})) == [None]


def test_a_difference_is_taken_end_against_end():
    result = judge_parts([toy("a", limit=0, less={"metric": "b"})], TABLES)[0]
    assert result.estimate == Estimate(2.0, 1.0, 3.0, 9)
    result = judge_parts([toy("a", limit=0, negative=True)], TABLES)[0]
    assert result.estimate == Estimate(-2.0, -2.5, -1.5, 9)


def test_limits_from_columns_and_a_share_of_tokens():
    assert met(toy(rule="at most", limit="threshold")) == [True]
    assert met(toy(rule="at most", limit=1.2, per="tokens")) == [False]
    assert met(toy(rule="at most", limit=1.3, per="tokens")) == [True]
    assert met(toy(rule="value below", value="threshold", limit="error")) == [False]


def test_flags():
    assert met(toy("a", "is", limit="found"), toy("a", "is not", limit="found")) == [True, False]


def test_the_rows_of_a_part():
    where = {"metric": ["z", "b", "a"]}  # the first that there is
    assert judge_parts([Part(where, "above", "toy", limit=-1)], TABLES)[0].estimate.value == 0.0
    where = {"metric": "mean", "found": True}
    table = Tables({"toy": ROWS[:2].assign(found=True)})
    result = judge_parts([Part(where, "above", "toy", "{rows} rows", limit=0)], table)[0]
    assert (result.estimate, result.text) == (Estimate(1.0, 0.5, 1.5, 9), "2 rows")
    where = {"metric": "each"}
    results = judge_parts([Part(where, "above", "toy", "of {metric}", limit=0)], TABLES)
    assert [(r.text, r.met) for r in results] == [("of a", True), ("of b", False), ("of c", None)]
    where = {"threshold": 3.0, "value": "largest"}
    part = Part(where, "value above", "toy", limit=1)
    assert judge_parts([part], TABLES)[0].estimate.value == 3.0


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (lambda: toy(rule="abvoe", limit=0), "unknown rule 'abvoe'; did you mean 'above'"),
        (lambda: toy(limit=0, unit="tims"), "unknown unit 'tims'"),
        (lambda: toy(), "the rule 'above' without a limit"),
        (lambda: toy(rule="is", than={"metric": "b"}), "the rule 'is' without a limit"),
        (lambda: toy(table="toi", limit=0), "unknown table 'toi'; did you mean 'toy'"),
        (lambda: Part({"metrik": "a"}, "above", "toy", limit=0), "'metrik'; did you mean 'metric'"),
        (lambda: toy(rule="at most", limit="treshold"), "'treshold'; did you mean 'threshold'"),
        (lambda: Part({"found": True}, "above", "toy", limit=0), "is true of 2 rows"),
    ],
)
def test_mistakes_in_an_entry_are_named(part, message):
    with pytest.raises(ValueError, match=message):
        judge_parts([part()], TABLES)


def test_a_claim_from_outside_is_judged_like_any_other():
    claim = Claim("a is large", "no figure", [toy(limit=1)], "no", "", needs=[toy("b", limit=-1)])
    other = Claim(
        "c", "", [toy(table="none", limit=1)], "no", "", needs=[toy(table="none", limit=0)]
    )
    claims, parts = judge({13: claim, 14: other}, TABLES, induced=False)
    assert claims["number"].tolist() == [13, 14]
    assert claims["verdict"].tolist() == ["holds", "not measurable here"]
    assert parts["met"].tolist() == ["yes", "not measured"]
    with pytest.raises(ValueError, match="claim 13: unknown table"):
        judge({13: claim}, Tables({}), induced=False)
