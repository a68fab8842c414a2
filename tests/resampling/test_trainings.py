"""The interval over trainings: by hand, at its edges, and how often it covers the truth."""

import math

import numpy as np
import pytest

from diysink.resampling import over_trainings


def test_worked_by_hand():
    """Differences 1, 2, 3: s = 1, so 1/3; images +-1.96: error 1; t(2) at 97.5 % is 4.30265."""
    low, high = over_trainings([1.0, 2.0, 3.0], (2 - 1.959964, 2 + 1.959964), 0.95)
    reach = 4.302653 * math.sqrt(1 / 3 + 1)
    assert low == pytest.approx(2 - reach, abs=1e-4)
    assert high == pytest.approx(2 + reach, abs=1e-4)


def test_one_training_says_nothing_of_others():
    assert all(math.isnan(end) for end in over_trainings([0.3], (0.2, 0.4), 0.95))


def test_opposite_trainings_are_undecided_however_sure_the_images_are():
    low, high = over_trainings([0.09, -0.02, -0.19, 0.01, -0.03], (-0.037, -0.018), 0.95)
    assert low < 0 < high


def test_it_covers_the_true_mean_at_least_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        image = rng.normal(0, 0.01)  # the same images for all trainings
        runs = 0.03 + image + rng.normal(0, 0.05, 5)
        mean = runs.mean()
        low, high = over_trainings(runs, (mean - 0.0196, mean + 0.0196), 0.95)
        covered += low <= 0.03 <= high
    assert 0.94 <= covered / 2000 <= 0.985
