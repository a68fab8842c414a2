"""A gap is found where there are two populations, and only there."""

import numpy as np
import pytest
import torch

from diysink.sinks.gap import find_gaps
from tests.sinks.populations import LAYOUT, at_random, heavy_tail, one_mode, two_modes


def find_gap(counts):
    """The widest."""
    return next(iter(find_gaps(counts)), None)


def histogram(norms):
    return torch.bincount(LAYOUT.bins(norms.flatten()), minlength=320).double().numpy()


@pytest.mark.parametrize("images", [10, 60, 2000])
@pytest.mark.parametrize("spread", [0.05, 0.2, 0.5])
def test_one_mode_has_none(images, spread):
    assert find_gap(histogram(one_mode(images, spread=spread))) is None


@pytest.mark.parametrize("images", [10, 60, 2000])
def test_a_heavy_tail_has_none(images):
    norms = heavy_tail(images)
    assert (norms > 3 * norms.median()).float().mean() > 0.01  # a ratio to the median flags it
    assert find_gap(histogram(norms)) is None


@pytest.mark.parametrize("images", [10, 60, 2000])
@pytest.mark.parametrize("high", [25.0, 60.0, 400.0])
def test_two_modes_have_one_in_between(images, high):
    gap = find_gap(histogram(two_modes(at_random(images), high=high)))
    tau = LAYOUT.edges[gap.edge]
    assert 12 < tau < 0.75 * high
    # in the middle, in logarithms, up to what the spread of the larger population takes
    assert abs(np.log(tau / np.sqrt(10 * high))) < 0.35
    assert gap.depth > 0.8
    assert gap.low < gap.edge < gap.high
    assert len(find_gaps(histogram(two_modes(at_random(images), high=high)))) == 1


def test_the_wider_of_two_gaps_wins():
    for between, above in ((2, 1), (1, 2)):  # which of the upper two is the larger
        norms = one_mode(500)
        norms[:, :between] *= 3
        norms[:, 10 : 10 + above] *= 30
        without = norms[norms < 80]
        assert 13 < LAYOUT.edges[find_gap(histogram(without)).edge] < 25
        assert 45 < LAYOUT.edges[find_gap(histogram(norms)).edge] < 200


def test_a_handful_of_outliers_is_no_population():
    norms = one_mode(2000)
    norms[0, :5] = 300.0
    assert find_gap(histogram(norms)) is None


def test_half_of_the_tokens_are_no_small_population():
    assert find_gap(histogram(two_modes(at_random(200, sinks=18)))) is None


def test_nothing_has_none():
    assert find_gap(np.zeros(320)) is None


def test_populations_at_the_ends_of_the_grid():
    norms = torch.full((100, 36), 1e-5)
    norms[:, :3] = 1e7
    gap = find_gap(histogram(norms))
    assert 0 < gap.low <= gap.edge <= gap.high < 320
