"""Where sinks sit: at few places whatever the image, or where the image has them."""

import numpy as np
import pytest
import torch

from diysink.sinks import CalibrationSettings, calibrate
from diysink.sinks.positions import evenness, random_entropy
from tests.sinks.populations import IDENTITY, SIDE, TOKENS, attended, count, two_modes

LARGE = 24
CORNERS = [0, LARGE - 1, LARGE * (LARGE - 1), LARGE**2 - 1]


def placed(images, sinks, places, rng):
    """How many sinks sit at each of 24 x 24 positions, if each image has some of the places."""
    counts = np.zeros(LARGE**2)
    for _ in range(images):
        counts[rng.choice(places, sinks, replace=False)] += 1
    return counts


@pytest.mark.parametrize("images", [40, 300, 5000])
@pytest.mark.parametrize(
    ("places", "sinks"),
    [(CORNERS, 4), (CORNERS, 1), (CORNERS, 2), (range(LARGE), 3), (range(0, LARGE**2, LARGE), 3)],
    ids=["four corners", "one of four corners", "two of four corners", "top row", "left column"],
)
def test_fixed_places_are_few(images, places, sinks):
    value = evenness(placed(images, sinks, list(places), np.random.default_rng(0)))
    among = len(list(places))  # never more than these, of the places that as many draws reach
    assert value <= 1.02 * among / np.exp(random_entropy(images * sinks, LARGE**2))
    assert value < 0.25


@pytest.mark.parametrize("images", [1, 2, 5, 20, 100, 1000])
@pytest.mark.parametrize("sinks", [1, 3, 20])
def test_random_places_count_as_one_at_any_number_of_images(images, sinks):
    rng = np.random.default_rng(images + sinks)
    values = [evenness(placed(images, sinks, LARGE**2, rng)) for _ in range(20)]
    assert np.mean(values) == pytest.approx(1, abs=0.05)  # an image has no place twice
    assert min(values) > 0.75


def test_half_of_the_picture_passes_and_one_border_does_not():
    rng = np.random.default_rng(2)
    sky = placed(1000, 3, LARGE**2 // 2, rng)
    assert evenness(sky) == pytest.approx(0.5, abs=0.05)
    border = [p for p in range(LARGE**2) if {p // LARGE, p % LARGE} & {0, LARGE - 1}]
    among = 92 / np.exp(random_entropy(3000, 576))
    assert evenness(placed(1000, 3, border, rng)) == pytest.approx(among, rel=0.03)


@pytest.mark.parametrize(("draws", "positions"), [(5, 3), (40, 36), (3000, 100)])
def test_the_entropy_of_random_places_is_that_of_a_simulation(draws, positions):
    drawn = np.random.default_rng(1).multinomial(draws, np.full(positions, 1 / positions), 4000)
    shares = drawn / draws
    logs = np.log(np.where(shares > 0, shares, 1))
    entropies = -(shares * logs).sum(1)
    error = entropies.std() / np.sqrt(len(entropies))
    assert random_entropy(draws, positions) == pytest.approx(entropies.mean(), abs=4 * error)


def test_millions_of_draws_are_as_good_as_even():
    assert random_entropy(10**8, 576) == pytest.approx(np.log(576), abs=1e-5)


@pytest.mark.parametrize(
    ("places", "sinks", "passes"),
    [
        ([0, 5, 30, 35], 1, False),
        ([0, 5, 30, 35], 2, False),
        (range(SIDE), 2, False),
        (range(TOKENS), 2, True),
    ],
    ids=["one of four corners", "two of four corners", "top row", "anywhere"],
)
def test_the_verdict_asks_it(places, sinks, passes):
    rng = np.random.default_rng(3)
    where = torch.zeros(200, TOKENS, dtype=torch.bool)
    for row in where:
        row[rng.choice(list(places), sinks, replace=False)] = True
    profile = calibrate(count(two_modes(where), attended(where)), IDENTITY, CalibrationSettings())
    assert {one.name for one in profile.evidence if not one.passed} == (
        set() if passes else {"position"}
    )
    assert profile.found
    assert profile.type == ("background" if passes else "fixed place")
