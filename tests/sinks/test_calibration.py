"""Tau and the verdict on made-up populations: every reason to doubt is one question's alone."""

from dataclasses import replace

import pytest
import torch

from diysink.sinks import CalibrationSettings, Credibility, calibrate
from diysink.sinks.gap import find_gaps
from diysink.sinks.layout import Layout
from diysink.sinks.statistics import Statistics, measure
from diysink.sinks.verdict import weigh
from tests.sinks.populations import (
    IDENTITY,
    LAYOUT,
    TOKENS,
    at_random,
    attended,
    count,
    heavy_tail,
    names,
    one_mode,
    two_modes,
)


def profile_of(norms, attention=None, contrast=None, **settings):
    statistics = count(norms, attention, contrast)
    return calibrate(statistics, IDENTITY, CalibrationSettings(**settings))


def failed(profile):
    return {one.name for one in profile.evidence if not one.passed}


def test_two_populations_are_found():
    where = at_random()
    norms = two_modes(where)
    profile = profile_of(norms, attended(where))
    assert profile.found
    assert profile.verdict == "found"
    assert failed(profile) == set()
    low, high = profile.interval
    assert norms[~where].max() < low <= profile.tau <= high < norms[where].min()
    assert profile.sinks_per_image == (0, 0, 0, 200)
    assert (profile.images, profile.mean_sinks, profile.share_without) == (200, 3.0, 0.0)
    assert sum(profile.histogram) == 200 * TOKENS
    assert len(profile.reasons) == len(profile.evidence) == 10


def test_one_mode_is_not():
    profile = profile_of(one_mode())
    assert not profile.found
    assert profile.tau is None
    assert profile.interval is None
    assert {"populations", "stability"} <= failed(profile)
    assert profile.sinks_per_image == (200,)
    assert profile.share_without == 1.0
    assert any("No second population" in reason for reason in profile.reasons)


def test_a_heavy_tail_is_not_though_many_tokens_exceed_three_medians():
    norms = heavy_tail()
    where = norms > 3 * norms.median()
    assert where.sum(1).float().mean() > 0.5
    profile = profile_of(norms, attended(where))
    assert not profile.found
    assert profile.tau is None
    assert {"populations", "stability"} <= failed(profile)


def test_outliers_at_a_fixed_position_are_a_type():
    where = torch.zeros(200, TOKENS, dtype=torch.bool)
    where[:, [0, 35]] = True
    profile = profile_of(two_modes(where), attended(where))
    assert failed(profile) == {"position"}
    assert (profile.found, profile.type) == (True, "fixed place")
    assert profile.verdict == "found at a fixed place"
    evidence = next(one for one in profile.evidence if one.name == "position")
    assert evidence.value == pytest.approx(2 / 36, rel=0.05)  # of 400 sinks, in the expectation


def test_high_norms_on_detail_are_not():
    where = at_random()
    profile = profile_of(two_modes(where), attended(where), contrast=attended(where, 1.7))
    assert failed(profile) == {"content"}
    assert profile.reasons[0].startswith("Pixel contrast above the threshold over below: 1.7x")


@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_high_norms_that_nothing_attends_to_are_not(factor):
    where = at_random()
    profile = profile_of(two_modes(where), attended(where, factor))
    assert failed(profile) == {"attention"}
    assert not profile.found


def test_sinks_in_few_images_are_not():
    where = at_random()
    where[::2] = where[1::4].repeat(2, 1) & (torch.arange(100)[:, None] < 0)
    where[::5] = False
    profile = profile_of(two_modes(where), attended(where))
    assert failed(profile) == {"common"}


def test_many_sinks_in_an_image_are_not():
    where = at_random(sinks=8)
    norms = two_modes(where)
    assert profile_of(norms, attended(where), credible=Credibility(share=0.25)).found
    assert profile_of(norms, attended(where)).tau is None
    fixed = profile_of(norms, attended(where), method="median", multiple=2.0)
    assert "few" in failed(fixed)


def test_norms_hardly_apart_are_not():
    where = at_random()
    profile = profile_of(two_modes(where, high=14.0, spread=0.03), attended(where))
    assert failed(profile) == {"norm"}


def test_a_second_population_in_one_image_is_not_stable():
    where = at_random(400)
    where[12:] = False
    where[:12] = True
    where[:12, 3:] = False
    norms = two_modes(where)
    profile = profile_of(norms, attended(where), min_share=0.002)
    assert "stability" in failed(profile) or profile.tau is None
    assert not profile.found


def test_gaps_at_very_different_norms_are_not_stable():
    where = at_random()
    statistics = count(two_modes(where, high=200.0), attended(where))
    (gap,) = find_gaps(statistics.tables["norms"][0].double().numpy())
    for shift, stable in ((6, True), (20, False)):  # sixteenths of an octave between the replicates
        elsewhere = replace(gap, edge=gap.edge + shift)
        evidence = weigh(statistics, gap.edge, gap, (gap, elsewhere) * 20, Credibility())
        assert {one.name: one.passed for one in evidence}["stability"] == stable


def test_the_papers_fixed_tau():
    where = at_random()
    norms = two_modes(where, middle=40.0, high=250.0)
    profile = profile_of(norms, attended(where), method="fixed")
    assert (profile.tau, profile.interval, profile.found) == (100.0, None, True)
    # where it falls into the crowd, the verdict says so
    profile = profile_of(
        two_modes(where, middle=110.0, high=600.0), attended(where), method="fixed"
    )
    assert profile.tau == 100.0
    assert not profile.found
    assert {"populations", "few"} <= failed(profile)


def test_a_fixed_tau_that_was_not_counted_is_refused():
    with pytest.raises(ValueError, match="not an edge of the grid, whose anchor is 100"):
        profile_of(one_mode(20), method="fixed", fixed=70.0)


def test_a_multiple_of_the_median():
    where = at_random()
    profile = profile_of(two_modes(where), attended(where), method="median", multiple=3.0)
    assert 27 < profile.tau < 34
    assert profile.found
    assert profile.interval[0] <= profile.tau <= profile.interval[1]


def test_an_unknown_method_is_refused():
    statistics = count(one_mode(5))
    settings = CalibrationSettings()
    object.__setattr__(settings, "method", "guess")
    with pytest.raises(ValueError, match="'gap', 'drop', 'fixed' or 'median'"):
        calibrate(statistics, IDENTITY, settings)


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="No image was measured"):
        calibrate(Statistics.empty(LAYOUT), IDENTITY, CalibrationSettings())


def test_sink_dimensions_are_those_that_only_sinks_fill():
    layout = Layout(6, 6, 64, replicates=5)
    where = at_random(50)
    hidden = torch.randn(50, TOKENS, 64, generator=torch.Generator().manual_seed(5))
    hidden[..., 40] *= 30  # large at every token: not a sink's
    hidden[where] *= 3
    hidden[..., 7][where] = 900.0
    hidden[..., 21][where] = -600.0
    even = torch.ones(50, TOKENS)
    statistics = measure(layout, hidden, attended(where), even, names(50))
    profile = calibrate(statistics, IDENTITY, CalibrationSettings())
    assert profile.sink_dimensions == (7, 21)


def test_the_interval_covers_what_other_images_give():
    """Calibrated on 100 images, the interval holds the tau of 3000 others."""
    where = at_random(3100)
    norms = two_modes(where, high=35.0, spread=0.25)
    small = profile_of(norms[:100], attended(where[:100]))
    large = profile_of(norms[100:], attended(where[100:]))
    step = 2 ** (1 / 16)
    assert small.interval[0] / step <= large.tau <= small.interval[1] * step
