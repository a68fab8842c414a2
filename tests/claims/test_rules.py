"""Rules on single numbers, verdicts from parts, and a claim from outside."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.claims import Claim, Estimate, Part, Tables, Verdict, judge
from diysink.claims.judge import judge_parts
from diysink.claims.results import Finding, Result, conclude
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


def judged(*parts):
    return [str(result.verdict) for result in judge_parts(parts, TABLES)]


SHOWN, REFUTED, UNDECIDED, OPEN = (str(verdict) for verdict in Verdict)
RESULTS = st.sampled_from(Verdict).map(lambda v: Result("a", "", v, Finding.WIDE))


@given(st.lists(RESULTS), st.lists(RESULTS.map(Result.as_control)))
def test_parts_decide_and_controls_take_away(parts, controls):
    verdict, decisive = conclude([*controls, *parts])
    found = [result.verdict for result in (*parts, *controls)]
    if any(part.verdict == Verdict.REFUTED for part in parts):
        assert verdict == Verdict.REFUTED
    elif Verdict.NOT_MEASURABLE in found or not found:
        assert verdict == Verdict.NOT_MEASURABLE
    elif Verdict.UNDECIDED in found:
        assert verdict == Verdict.UNDECIDED
    else:
        assert verdict == Verdict.SHOWN
    assert (decisive is None) == (not found)
    if decisive is not None:
        assert decisive.verdict == verdict


@pytest.mark.parametrize(
    ("rule", "below", "inside", "above"),
    [  # with limits of 1, 2 and 3, below, inside and above the interval of 1.5 to 2.5
        ("above", SHOWN, UNDECIDED, REFUTED),
        ("below", REFUTED, UNDECIDED, SHOWN),
        ("value below", REFUTED, REFUTED, SHOWN),
        ("value at least", SHOWN, SHOWN, REFUTED),
    ],
)
def test_each_rule_at_limits_below_inside_and_above_the_interval(rule, below, inside, above):
    limits = (1.0, 2.0, 3.0)
    assert judged(*(toy(rule=rule, limit=limit) for limit in limits)) == [below, inside, above]
    controls = judged(*(toy(rule=rule, limit=limit, control=True) for limit in limits))
    assert controls == [SHOWN if v == SHOWN else UNDECIDED for v in (below, inside, above)]


def test_a_limit_that_an_interval_touches_is_not_passed():
    assert judged(toy(rule="below", limit=2.5), toy(limit=1.5)) == [UNDECIDED] * 2


def test_rules_for_intervals_decide_nothing_without_one():
    assert judged(toy("c", limit=1.0), toy("c", "value at least", limit=1.0)) == [OPEN, SHOWN]


def test_a_row_in_place_of_a_limit():
    than = {"than": {"metric": "b"}}
    assert judged(toy("a", "above", **than), toy("a", "below", **than)) == [SHOWN, REFUTED]
    assert judged(toy("a", "above", **than, limit=3)) == [UNDECIDED]  # 1.5 at least, 3 x .5 at most
    assert judged(toy("a", "above", than={"metric": "c"})) == [OPEN]
    assert judged(toy("a", "above", than={"metric": "d"})) == [OPEN]


def test_a_difference_is_taken_end_against_end():
    result = judge_parts([toy("a", limit=0, less={"metric": "b"})], TABLES)[0]
    assert result.estimate == Estimate(2.0, 1.0, 3.0, 9)
    result = judge_parts([toy("a", limit=0, negative=True)], TABLES)[0]
    assert result.estimate == Estimate(-2.0, -2.5, -1.5, 9)


def test_limits_from_columns_and_a_share_of_tokens():
    assert judged(toy(rule="below", limit="threshold")) == [SHOWN]
    assert judged(toy(rule="below", limit=0.7, per="tokens")) == [REFUTED]
    assert judged(toy(rule="below", limit=1.3, per="tokens")) == [SHOWN]
    assert judged(toy(rule="value below", value="threshold", limit="error")) == [REFUTED]


def test_flags():
    flags = toy("a", "is", limit="found"), toy("a", "is not", limit="found")
    assert judged(*flags) == [SHOWN, REFUTED]


def test_the_rows_of_a_part():
    where = {"metric": ["z", "b", "a"]}  # the first that there is
    assert judge_parts([Part(where, "above", "toy", limit=-1)], TABLES)[0].estimate.value == 0.0
    where = {"metric": "mean", "found": True}
    table = Tables({"toy": ROWS[:2].assign(found=True)})
    result = judge_parts([Part(where, "above", "toy", "{rows} rows", limit=0)], table)[0]
    assert (result.estimate, result.text) == (Estimate(1.0, 0.5, 1.5, 9), "2 rows")
    where = {"metric": "each"}
    results = judge_parts([Part(where, "above", "toy", "of {metric}", limit=0)], TABLES)
    assert [(r.text, str(r.verdict)) for r in results] == [
        ("of a", SHOWN), ("of b", UNDECIDED), ("of c", OPEN),
    ]  # fmt: skip
    where = {"threshold": 3.0, "value": "largest"}
    part = Part(where, "value at least", "toy", limit=1)
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
        (lambda: toy(limit=1, smallest=0.5), "smallest effect of 0.5, below the limit of 1"),
        (lambda: toy(rule="below", limit=1, smallest=2), "smallest effect of the rule 'below'"),
        (lambda: toy(limit=1, smallest=2, control=True), "smallest effect of a control"),
        (lambda: toy(rule="below", limit="treshold"), "'treshold'; did you mean 'threshold'"),
        (lambda: Part({"found": True}, "above", "toy", limit=0), "is true of 2 rows"),
    ],
)
def test_mistakes_in_an_entry_are_named(part, message):
    with pytest.raises(ValueError, match=message):
        judge_parts([part()], TABLES)


def test_a_claim_from_outside_is_judged_like_any_other():
    parts, needs = [toy(limit=1)], [toy("b", limit=-1)]
    claim = Claim("large", "a is large", "no figure", "ours", parts, "no", "", needs=needs)
    blind = replace(claim, needs=[toy("b", limit=0)])
    other = replace(claim, parts=[toy(table="none", limit=1)], needs=[])
    claims, parts = judge({13: claim, 14: blind, 15: other}, TABLES, induced=False)
    assert claims["number"].tolist() == [13, 14, 15]
    assert claims["verdict"].tolist() == [SHOWN, OPEN, OPEN]
    assert parts["number"].tolist() == [13, 13, 14, 15]
    assert parts["finding"].tolist() == ["effect", "effect", "control fails", "not measured"]
    with pytest.raises(ValueError, match="claim 13: unknown table"):
        judge({13: claim}, Tables({}), induced=False)
