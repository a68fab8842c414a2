import numpy as np
import pytest
from scipy import stats

from diysink.resampling import draw_images, interval, ratio_interval, resampled_ratios


def one_column(values):
    return np.asarray(values, dtype=float)[:, None]


def test_agrees_with_scipy_on_a_mean():
    values = np.random.default_rng(0).exponential(size=80)
    ours = ratio_interval(one_column(values), np.ones((80, 1)), resamples=20_000, level=0.9, seed=1)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, confidence_level=0.9, method="percentile", rng=2
    ).confidence_interval
    np.testing.assert_allclose(np.concatenate(ours), theirs, rtol=0.01)


def test_every_resample_draws_as_many_images_as_there_are():
    drawn = np.concatenate(list(draw_images(7, 50, seed=0)))
    assert drawn.shape == (50, 7)
    assert (drawn.sum(1) == 7).all()
    assert (drawn != 1).any()


def test_chunks_do_not_change_the_draw(monkeypatch):
    whole = np.concatenate(list(draw_images(5, 40, seed=3)))
    monkeypatch.setattr("diysink.resampling.bootstrap._BUDGET", 35)
    parts = list(draw_images(5, 40, seed=3))
    assert len(parts) == 6
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_columns_are_paired():
    rng = np.random.default_rng(0)
    first = rng.uniform(size=50)
    sums = np.stack([first, first + 0.25], axis=1)
    drawn = resampled_ratios(sums, np.ones((50, 2)), resamples=100, seed=0)
    np.testing.assert_allclose(drawn[:, 1] - drawn[:, 0], 0.25)


def test_an_image_with_more_questions_weighs_more():
    sums, counts = np.array([[0.0], [9.0]]), np.array([[1.0], [9.0]])
    drawn = resampled_ratios(sums, counts, resamples=400, seed=0)
    assert set(np.round(np.unique(drawn), 3)) == {0.0, 0.9, 1.0}


def simulate(rng, images=40, questions=3):
    """Right answers whose luck is the image's: all its questions stand and fall together."""
    easy = rng.uniform(size=(images, 1)) < 0.6
    own = rng.uniform(size=(images, questions)) < np.where(easy, 0.9, 0.2)
    return own.astype(float), 0.6 * 0.9 + 0.4 * 0.2


def test_intervals_cover_and_those_that_ignore_images_do_not():
    rng = np.random.default_rng(0)
    by_image = by_question = 0
    trials = 300
    for trial in range(trials):
        right, truth = simulate(rng)
        options = {"resamples": 200, "level": 0.95, "seed": trial}
        low, high = ratio_interval(
            right.sum(1, keepdims=True), np.full((len(right), 1), 3.0), **options
        )
        by_image += low[0] <= truth <= high[0]
        flat = one_column(right.ravel())
        low, high = ratio_interval(flat, np.ones_like(flat), **options)
        by_question += low[0] <= truth <= high[0]
    assert 0.90 <= by_image / trials <= 0.98
    assert by_question / trials < 0.88  # the control: questions taken as independent


def test_missing_counts_are_left_out_of_the_interval():
    low, high = interval(np.array([[np.nan], [1.0], [3.0]]), 0.5)
    assert 1 <= low[0] <= high[0] <= 3


@pytest.mark.parametrize(("images", "resamples"), [(0, 10), (3, 0)])
def test_refuses_nothing(images, resamples):
    with pytest.raises(ValueError, match="at least one image and one resample"):
        next(draw_images(images, resamples, seed=0))


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_refuses_a_level_out_of_bounds(level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        interval(np.ones((3, 1)), level)
