"""Norms beyond the grid: populations there are one bin, so the verdict says that they are there."""

import pytest
import torch

from diysink.sinks import CalibrationSettings, Layout, calibrate, measure_norms
from tests.sinks.populations import IDENTITY, LAYOUT, at_random, attended, count, names, two_modes

WHERE = at_random()


def profile_at(scale, fixed=100.0, where=WHERE, **settings):
    """Sinks six times the rest, all norms times a scale."""
    layout = Layout(6, 6, 8, anchor=fixed, replicates=50)
    statistics = count(scale * two_modes(where), attended(where), layout=layout)
    return calibrate(statistics, IDENTITY, CalibrationSettings(fixed=fixed, **settings))


def grid_of(profile):
    return next(one for one in profile.evidence if one.name == "grid")


@pytest.mark.parametrize(("scale", "fixed"), [(1e-5, 1e-4), (3e4, 3e5), (5e-3, 0.05)])
def test_a_scale_beyond_the_grid_is_said_and_mended_by_its_middle(scale, fixed):
    profile = profile_at(scale)
    grid = grid_of(profile)
    assert (profile.tau, profile.found, grid.passed) == (None, False, False)
    assert grid.value > 0.9
    assert profile.reasons == (grid.says,)
    mended = profile_at(scale, fixed=fixed)
    assert mended.found
    assert mended.mean_sinks == 3.0
    assert grid_of(mended).value == 0.0


def test_the_remedy_names_the_middle_of_the_norms():
    # 1e-4 lies in the octave from 100 * 2^-20 = 9.5e-5 upwards
    assert "about their median, 9.5e-05" in grid_of(profile_at(1e-5)).says


def test_few_tokens_beyond_the_grid_are_no_population():
    norms = two_modes(WHERE)
    norms[0, 0] = 1e-6  # one of 7200
    profile = calibrate(count(norms, attended(WHERE)), IDENTITY, CalibrationSettings())
    assert grid_of(profile).passed
    assert grid_of(profile).value == pytest.approx(1 / 7200)
    assert profile.tau is not None


def test_a_fixed_tau_stays_but_is_not_believed():
    norms = two_modes(WHERE, middle=50.0, high=3e5)
    profile = calibrate(count(norms), IDENTITY, CalibrationSettings(method="fixed"))
    assert (profile.tau, profile.mean_sinks, profile.found) == (100.0, 3.0, False)
    assert grid_of(profile).value == pytest.approx(3 / 36)


def test_norms_alone_know_it_too():
    statistics = measure_norms(Layout(replicates=5), [torch.full((4,), 1e-3)] * 3, names(3))
    profile = calibrate(statistics, IDENTITY, CalibrationSettings())
    assert grid_of(profile).value == 1.0
    assert f"{LAYOUT.edges[0]:.3g} to {LAYOUT.edges[-1]:.3g}: 12 below and 0 above" in (
        grid_of(profile).says
    )
