"""Means over trainings and images: by hand, against scipy, and in simulated families of tests."""

import math

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import binom, t, ttest_1samp

from diysink.resampling import crossed_mean, holm, resampled_ratios

ONES = np.ones(500, dtype=np.int64)


def crossed(rng, images=500, trainings=3, of_training=0.0, of_image=0.0, rest=1.0):
    """One item an image; standard deviations of the mean over all, from each source."""
    return (
        rng.normal(0, of_training * math.sqrt(trainings), (1, trainings))
        + rng.normal(0, of_image * math.sqrt(images), (images, 1))
        + rng.normal(0, rest * math.sqrt(images * trainings), (images, trainings))
    )


def test_worked_by_hand():
    """Trainings 1 and 3: s^2 / S = 2 / 2. Images -1, 0, +1: 1 / 3. No rest. t(1) and t(2)."""
    mean = crossed_mean(np.array([[0.0, 2.0], [1.0, 3.0], [2.0, 4.0]]), np.ones(3, dtype=int))
    assert mean.mean == 2
    assert mean.error == pytest.approx(math.sqrt(4 / 3))
    assert mean.df == pytest.approx((4 / 3) ** 2 / (1 + 1 / 9 / 2))
    reach = math.sqrt(12.706205**2 + 4.302653**2 / 3)
    assert mean.interval(0.95) == pytest.approx((2 - reach, 2 + reach), abs=1e-4)
    detectable = reach + t.ppf(0.8, mean.df) * mean.error
    assert mean.detectable(0.95) == pytest.approx(detectable)


def test_one_training_is_students_t_over_images():
    values = np.random.default_rng(0).normal(0.1, 1, 60)
    mean = crossed_mean(values[:, None], np.ones(60, dtype=int))
    theirs = ttest_1samp(values, 0)
    assert mean.p == pytest.approx(theirs.pvalue)
    assert mean.interval(0.95) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert mean.df == 59
    usual = (t.ppf(0.975, 59) + t.ppf(0.8, 59)) * values.std(ddof=1) / math.sqrt(60)
    assert mean.detectable(0.95) == pytest.approx(usual)


def test_images_that_are_alike_leave_students_t_over_trainings():
    own = np.array([0.02, 0.05, -0.01, 0.04])
    mean = crossed_mean(np.tile(own, (60, 1)), np.ones(60, dtype=int))
    theirs = ttest_1samp(own, 0)
    assert mean.p == pytest.approx(theirs.pvalue)
    assert mean.interval(0.95) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert mean.df == pytest.approx(3)


def test_the_variance_over_images_is_that_of_the_bootstrap_of_a_ratio():
    """Images of one to five items, whose mean depends on their number."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 6, 400)
    sums = rng.normal(0, 1, (400, 3)) + rng.normal(0.5, 1, (400, 1)) * counts[:, None] ** 1.5
    drawn = resampled_ratios(sums.mean(1)[:, None], counts[:, None], resamples=4000, seed=0)
    assert crossed_mean(sums, counts).over_images == pytest.approx(drawn.var(), rel=0.1)


def test_the_interval_at_level_1_less_p_ends_at_0():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mean = crossed_mean(crossed(rng, of_training=0.8, of_image=0.8), ONES)
        assert min(abs(end) for end in mean.interval(1 - mean.p)) < 1e-6


def test_equal_trainings_are_no_surer_than_the_images():
    one = np.random.default_rng(0).normal(0.1, 1, (500, 1))
    five = crossed_mean(one.repeat(5, 1), ONES)
    assert five.p == pytest.approx(crossed_mean(one, ONES).p)
    assert five.p >= ttest_1samp(one[:, 0], 0).pvalue - 1e-12


def test_one_image_says_nothing_of_others():
    mean = crossed_mean(np.array([[1.0, 1.0]]), np.ones(1, dtype=int))
    assert mean.p == 1
    assert all(math.isnan(x) for x in (*mean.interval(0.95), mean.error, mean.detectable(0.95)))


def family(rng, trainings, sd, comparisons=10, images=500, questions=3, base=0.87):
    """No method differs; each training has its own luck, all answer questions of one difficulty."""
    difficulty = rng.normal(0, 0.6, (images, 1)) + rng.normal(0, 0.3, (images, questions))
    luck = rng.normal(0, sd, (comparisons + 1, trainings, 1, 1))
    noise = rng.standard_normal((comparisons + 1, trainings, images, questions), dtype=np.float32)
    right = ndtri(base) * math.sqrt(1.45) + luck + difficulty + noise > 0
    right = right.sum(-1).swapaxes(1, 2).astype(float)
    return [crossed_mean(own - right[0], np.full(images, questions)) for own in right[1:]]


@pytest.mark.parametrize("trainings", [2, 3, 5])
@pytest.mark.parametrize("sd", [0.0, 0.05, 0.3, 1.0])  # 0.3: some 6 points between trainings
def test_families_without_a_difference(trainings, sd):
    """At most 5 % of families have a false call, and intervals cover 0 as often as they say."""
    rng = np.random.default_rng(1)
    families = [family(rng, trainings, sd) for _ in range(150)]
    wrong = sum(holm([mean.p for mean in means]).min() < 0.05 for means in families)
    assert wrong <= binom.ppf(0.99, len(families), 0.05)
    ends = np.array([mean.interval(0.95) for means in families for mean in means])
    covered = ((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).mean()
    assert 0.93 <= covered <= 0.995


SHARES = [(0, 0, 1), (0, 1, 0.1), (1, 1, 1), (1, 0.35, 0.35), (1, 0.2, 0.1), (1, 0.01, 0.01)]


@pytest.mark.parametrize("trainings", [2, 3, 5])
@pytest.mark.parametrize("shares", SHARES)
def test_coverage_whatever_dominates(trainings, shares):
    """Also at 99.5 %, where Holm's correction of ten comparisons looks."""
    rng = np.random.default_rng(2)
    means = [crossed_mean(crossed(rng, 60, trainings, *shares), ONES[:60]) for _ in range(1000)]
    p = np.array([mean.p for mean in means])
    for error in (0.05, 0.005):
        assert (p < error).sum() <= binom.ppf(0.999, len(p), error)
    assert (p < 0.05).mean() > 0.003  # it decides: not the level of a rule that never does


def test_satterthwaite_would_err():
    """The control: two trainings that dominate (the module's docstring)."""
    rng = np.random.default_rng(3)
    means = [crossed_mean(crossed(rng, 60, 2, 1, 0.35, 0.35), ONES[:60]) for _ in range(1000)]
    p = np.array([2 * t.sf(abs(mean.mean) / mean.error, mean.df) for mean in means])
    assert (p < 0.05).mean() > 0.08
    assert (p < 0.005).mean() > 0.03


def test_where_images_dominate_three_trainings_are_no_wider_than_they_must_be():
    rng = np.random.default_rng(4)
    means = [crossed_mean(crossed(rng, 500, 3, 0, 1, 0.1), ONES) for _ in range(200)]
    reach = np.mean([mean.reach(0.95) for mean in means]) / math.sqrt(1.01)
    assert 1.9 < reach < 1.15 * 1.96
    assert t.ppf(0.975, 2) > 2 * reach  # S - 1 degrees of freedom for the whole


def power(sd, effect, trainings=5, trials=400):
    """Share of trials that find an effect; points. Images give one training 1.15 points."""
    rng = np.random.default_rng(5)
    rest = 1.15 / math.sqrt(trainings)
    found = 0
    for _ in range(trials):
        values = crossed(rng, 500, trainings, sd / math.sqrt(trainings), 0, rest) + effect
        found += crossed_mean(values, ONES).p < 0.05
    return found / trials


def test_five_trainings_find_a_difference_that_trainings_do_not_hide():
    assert power(sd=1.5, effect=2.9) > 0.65
    assert power(sd=10, effect=2.9) < 0.15


@pytest.mark.parametrize(("sd", "trainings"), [(0.0, 5), (3.0, 5), (3.0, 3)])
def test_what_is_detectable_is_found_with_80_percent_power(sd, trainings):
    rng = np.random.default_rng(6)
    shares = (sd / math.sqrt(trainings), 1.0, 0.3)
    means = [crossed_mean(crossed(rng, 500, trainings, *shares), ONES) for _ in range(400)]
    effect = math.sqrt(np.mean([mean.detectable(0.95) ** 2 for mean in means]))
    found = [abs(mean.mean + effect) > mean.reach(0.95) for mean in means]
    assert 0.72 <= np.mean(found) <= 0.9
