import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from diysink.resampling import holm, sign_flip_test


def test_mcnemar_worked_by_hand():
    """13 discordant pairs, 10 to 3: 2 x (1 + 13 + 78 + 286) / 2^13."""
    differences = np.array([1] * 10 + [-1] * 3 + [0] * 87)
    assert sign_flip_test(differences) == pytest.approx(756 / 8192)


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 50))
def test_is_mcnemars_exact_test_for_one_question_per_image(won, lost, same):
    differences = np.array([1] * won + [-1] * lost + [0] * same, dtype=np.int64)
    theirs = binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert sign_flip_test(differences) == pytest.approx(theirs, abs=1e-12)


@settings(max_examples=50)
@given(st.lists(st.integers(-6, 6), max_size=9))
def test_is_the_share_of_sign_flips_at_least_as_far_out(differences):
    flips = itertools.product((-1, 1), repeat=len(differences))
    totals = [sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in flips]
    share = np.mean([abs(total) >= abs(sum(differences)) for total in totals])
    assert sign_flip_test(np.array(differences, dtype=np.int64)) == pytest.approx(share)


@given(st.lists(st.integers(-15, 15), max_size=300))
def test_is_symmetric_and_a_probability(differences):
    array = np.array(differences, dtype=np.int64)
    p = sign_flip_test(array)
    assert 0 <= p <= 1
    assert sign_flip_test(-array) == p


def test_holds_its_level_where_the_unclustered_test_does_not():
    """No difference in truth, but the five questions of an image fall to the same side."""
    rng = np.random.default_rng(0)
    clustered = naive = 0
    trials = 400
    for _ in range(trials):
        side = rng.choice([-1, 1], size=(30, 1))
        gains = side * (rng.uniform(size=(30, 5)) < 0.6)
        clustered += sign_flip_test(gains.sum(1).astype(np.int64)) < 0.05
        naive += binomtest(int((gains > 0).sum()), int((gains != 0).sum())).pvalue < 0.05
    assert clustered / trials <= 0.07
    assert naive / trials > 0.2  # the control


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_between_no_correction_and_bonferroni(p):
    corrected = holm(p)
    assert (corrected >= np.array(p) - 1e-12).all()
    assert (corrected <= np.minimum(1, len(p) * np.array(p)) + 1e-12).all() or len(p) > 1
    assert corrected.min() == pytest.approx(min(1, len(p) * min(p)))
    order = np.argsort(p, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()


def test_holm_of_nothing():
    assert holm([]).size == 0
