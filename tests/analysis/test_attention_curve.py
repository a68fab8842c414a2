"""The smooth curve and the rank correlation, on attention that is known."""

import numpy as np
import pytest

from diysink.analysis.attention_by_norm import shuffled_order
from diysink.analysis.attention_curve import attention_curve, norm_attention

IMAGES = [f"i{n // 2}" for n in range(60)]
EVERY = {"all": np.ones(60, dtype=np.bool_)}


@pytest.fixture
def norms():
    return np.exp(np.random.default_rng(0).normal(2.0, 0.5, (60, 36)))


def test_a_curve_of_a_step_is_the_step(norms):
    attention = np.where(norms >= 10, 0.03, 0.01)
    table = attention_curve(attention, norms, IMAGES, [5.0, 10.0, 20.0], 0.02, resamples=100)
    np.testing.assert_allclose(table["value"][[0, 2]], [0.01, 0.03])
    assert 0.015 < table["value"][1] < 0.025
    assert table["low"][1] < table["value"][1] < table["high"][1]
    wide = attention_curve(attention, norms, IMAGES, [5.0, 20.0], 5.0, resamples=100)
    assert abs(wide["value"][1] - wide["value"][0]) < 1e-3  # a wide kernel sees one mean


def test_where_there_are_no_tokens_there_is_no_curve(norms):
    table = attention_curve(norms / norms.sum(), norms, IMAGES, [1e-3, 8.0, 1e6], 0.05)
    assert table["norm"].tolist() == [8.0]
    assert (table["n_images"] <= 30).all()
    assert attention_curve(norms, norms, IMAGES, [1e9], 0.05).empty
    with pytest.raises(ValueError, match="bandwidth is 0"):
        attention_curve(norms, norms, IMAGES, [8.0], 0.0)


def test_spearman_by_hand():
    """Ranks (1, 2, 3, 4) against (1, 3, 2, 4): 1 - 6 * 2 / (4 * 15) = 0.8; ties are averaged."""
    attention = np.array([[0.1, 0.3, 0.2, 0.4], [0.1, 0.1, 0.2, 0.3]])
    ranks = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    groups = {name: np.array(member) for name, member in
              (("first", [True, False]), ("second", [False, True]))}  # fmt: skip
    table = norm_attention(attention, ranks, ["a", "b"], groups, resamples=20)
    assert table["rho"][0] == pytest.approx(0.8)
    assert table["rho"][1] == pytest.approx(4.5 / (5 * 4.5) ** 0.5)


def test_planted_attention_correlates_and_shuffled_norms_do_not(norms):
    attention = norms / norms.sum(1, keepdims=True)
    true = norm_attention(attention, norms, IMAGES, EVERY, resamples=200).iloc[0]
    assert (true["rho"], true["low"], true["high"]) == pytest.approx((1, 1, 1))
    assert true["n_images"] == 30
    moved = np.take_along_axis(norms, shuffled_order(norms.shape, 0), 1)
    control = norm_attention(attention, moved, IMAGES, EVERY, resamples=200).iloc[0]
    assert control["low"] < 0 < control["high"]


def test_attention_that_is_even_has_no_rank(norms):
    even = np.full_like(norms, 0.01)
    assert norm_attention(even, norms, IMAGES, EVERY).empty
    even[:2] = norms[:2]
    assert norm_attention(even, norms, IMAGES, EVERY, resamples=20)["n_images"].tolist() == [1]
