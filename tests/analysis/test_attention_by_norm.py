import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.analysis import attention_by_kind, attention_by_norm, norm_edges, shuffled_order

OPTIONS = {"resamples": 200, "level": 0.95, "seed": 0}


def measured(items=60, tokens=20, ratio=5.0, seed=0):
    """Two sinks a question, which get ``ratio`` times the attention of another token."""
    rng = np.random.default_rng(seed)
    sinks = np.zeros((items, tokens), dtype=bool)
    for row in sinks:
        row[rng.choice(tokens, 2, replace=False)] = True
    norms = np.where(sinks, rng.uniform(50, 70, sinks.shape), rng.uniform(5, 15, sinks.shape))
    attention = np.where(sinks, ratio, 1.0) * rng.uniform(0.005, 0.015, sinks.shape)
    return attention, norms, sinks, [f"image{i // 2}" for i in range(items)]


def test_finds_the_ratio_that_was_put_in_and_the_control_does_not():
    attention, norms, sinks, images = measured()
    groups = {"all": np.ones(len(norms), dtype=bool)}
    made = attention_by_kind(attention, sinks, images, groups, **OPTIONS).set_index("kind")
    assert made.loc["ratio", "value"] == pytest.approx(5, rel=0.05)
    assert made.loc["ratio", "low"] > 4.5
    assert made.loc["sink", "value"] == pytest.approx(attention[sinks].mean())
    assert tuple(made["n_tokens"]) == (120, 1080, 1200)
    assert (made["n_images"] == 30).all()
    order = shuffled_order(norms.shape, 0)
    control = np.take_along_axis(sinks, order, 1)
    ratio = attention_by_kind(attention, control, images, groups, **OPTIONS).iloc[2]
    assert ratio["low"] < 1 < ratio["high"]


def test_bins_hold_every_token_once_and_their_own_mean():
    attention, norms, _, images = measured()
    edges = norm_edges(norms, 8, 50.0)
    made = attention_by_norm(attention, norms, images, edges, **OPTIONS)
    assert made["n_tokens"].sum() == norms.size
    for row in made.to_dict("records"):
        inside = (norms >= row["norm_low"]) & (norms < row["norm_high"])
        assert row["n_tokens"] == inside.sum()
        assert row["attention"] == pytest.approx(attention[inside].mean())
        assert row["low"] <= row["attention"] <= row["high"]


def test_a_norm_at_an_edge_belongs_above_it():
    """As in the sink mask: a token is a sink from tau on."""
    norms, attention = np.array([[1.0, 5.0, 9.0]]), np.array([[0.1, 0.2, 0.4]])
    made = attention_by_norm(attention, norms, ["x"], [1.0, 5.0, 9.5], **OPTIONS)
    assert made["attention"].tolist() == pytest.approx([0.1, 0.3])


def test_groups_are_apart_and_those_without_sinks_are_left_out():
    attention, norms, sinks, images = measured()
    half = np.arange(len(norms)) < 30
    sinks = sinks & half[:, None]
    made = attention_by_kind(attention, sinks, images, {"a": half, "b": ~half}, **OPTIONS)
    assert set(made["group"]) == {"a"}
    none = attention_by_kind(attention, sinks & False, images, {"a": half}, **OPTIONS)
    assert none.empty
    assert list(none.columns) == list(made.columns)


def test_an_image_without_sinks_stays_in_the_mean_of_the_others():
    attention, _, sinks, images = measured()
    sinks[:2] = False
    groups = {"all": np.ones(len(sinks), dtype=bool)}
    made = attention_by_kind(attention, sinks, images, groups, **OPTIONS).set_index("kind")
    assert made.loc["nonsink", "n_tokens"] == (~sinks).sum()
    assert made.loc["nonsink", "n_images"] == 30


@given(
    st.integers(2, 30),
    st.floats(0.5, 200),
    st.lists(st.floats(0.1, 500), min_size=4, max_size=4, unique=True),
)
def test_edges_rise_hold_everything_and_meet_tau(bins, tau, values):
    norms = np.array(values).reshape(2, 2)
    edges = norm_edges(norms, bins, tau)
    assert (np.diff(edges) >= 0).all()
    assert edges[0] == pytest.approx(norms.min())
    assert edges[-1] == pytest.approx(norms.max())
    if norms.min() < tau < norms.max():
        assert tau in edges
    assert len(edges) == bins + 1


def test_shuffling_keeps_each_question_its_own_tokens():
    order = shuffled_order((50, 9), 0)
    assert (np.sort(order, 1) == np.arange(9)).all()
    assert (order != np.arange(9)).any()
    np.testing.assert_array_equal(order, shuffled_order((50, 9), 0))


@pytest.mark.parametrize(
    ("norms", "bins", "says"),
    [
        ([[1.0, 2.0]], 1, "at least 2"),
        ([[0.0, 1.0]], 4, "positive"),
        ([[np.nan, 1.0]], 4, "finite"),
    ],
)
def test_refuses(norms, bins, says):
    with pytest.raises(ValueError, match=says):
        norm_edges(np.array(norms), bins, None)
