"""The logic of verdicts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.claims.parts import Estimate, Part, Verdict, above, below, clear, conclude, lacking

NONE = float("nan")
marks = st.lists(st.sampled_from([True, False, None]), max_size=6)


def parts(met):
    return [Part("a", "b", m) for m in met]


@given(marks)
def test_one_that_fails_decides_and_one_not_measured_leaves_open(met):
    verdict = conclude(parts(met))
    if False in met:
        assert verdict is Verdict.DOES_NOT_HOLD
    elif None in met or not met:
        assert verdict is Verdict.NOT_MEASURABLE
    else:
        assert verdict is Verdict.HOLDS


@pytest.mark.parametrize(
    ("low", "high", "over", "under"),
    [(0.1, 0.3, True, False), (-0.1, 0.3, False, False), (-0.3, -0.1, False, True),
     (0.0, 0.3, False, False), (NONE, NONE, None, None)],
)  # fmt: skip
def test_the_whole_interval_is_asked(low, high, over, under):
    estimate = Estimate(0.2, low, high, 9)
    assert above("a", estimate, 0.0).met is over
    assert below("a", estimate, 0.0).met is under


def test_a_control_that_reaches_the_measurement_is_not_met():
    measured = Estimate(2.0, 1.5, 2.5, 9)
    assert clear("a", Estimate(1.0, 0.9, 1.1, 9), measured).met is True
    assert clear("a", Estimate(1.0, 0.4, 1.6, 9), measured).met is False
    assert clear("a", Estimate(1.0, NONE, NONE, 9), measured).met is None
    assert clear("a", Estimate(1.0, 0.9, 1.1, 9), measured).control


@given(*(st.floats(-5, 5) for _ in range(2)), *(st.floats(0, 3) for _ in range(2)))
def test_a_difference_is_at_least_as_wide_as_either(a, b, wide_a, wide_b):
    less = Estimate(a, a - wide_a, a + wide_a, 5).less(Estimate(b, b - wide_b, b + wide_b, 3))
    assert less.value == a - b
    assert less.high - less.low == pytest.approx(2 * (wide_a + wide_b), abs=1e-9)
    assert less.n_images == 3


def test_a_mean_does_not_get_narrower_with_more_rows_of_the_same_images():
    one = Estimate(1.0, 0.5, 1.5, 10)
    assert Estimate.mean([one] * 7) == one


def test_a_part_tells_its_number_its_interval_and_its_test():
    part = Part("a less b", "above 0", True, Estimate(0.05, 0.01, 0.09, 7), "difference", p=0.0123)
    assert part.told() == "a less b +5.0 points [+1.0, +9.0], p = 0.012 (Holm) (above 0)"
    assert lacking("run it").told() == "run it"
