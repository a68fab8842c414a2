"""Images of different scale: one norm for all finds other tokens, a ratio in each the sinks."""

import numpy as np
import pytest
import torch

from diysink.sinks import CalibrationSettings, SinkProfile, Statistics, calibrate, measure, total
from diysink.sinks.statistics import largest_drop
from tests.sinks.populations import (
    IDENTITY,
    at_random,
    attended,
    heavy_tail,
    names,
    one_mode,
    states,
    two_modes,
)

SIDE, DIM, IMAGES = 6, 8, 400
DROP = CalibrationSettings(method="drop")


def scaled(kind):
    """Three of 36 tokens at 3.25 times the rest, in images whose scales differ."""
    rng = np.random.default_rng(0)
    where = at_random(IMAGES)
    scale = {
        "lognormal": np.exp(0.4 * rng.normal(size=IMAGES)),
        "some three times as large": np.where(rng.random(IMAGES) < 0.15, 3.0, 1.0),
    }[kind]
    norms = two_modes(where, middle=40.0, high=130.0, spread=0.1)
    return norms * torch.tensor(scale, dtype=torch.float32)[:, None], where


def profile_of(norms, settings, where=None):
    layout = settings.layout(SIDE, SIDE, DIM, replicates=50)
    attention = torch.ones_like(norms) if where is None else attended(where)
    even = torch.ones_like(norms)
    statistics = measure(layout, states(norms), attention, even, names(len(norms)))
    return calibrate(statistics, IDENTITY, settings)


def precision_recall(profile, norms, where):
    found = profile.mask(states(norms))
    right = (found & where).sum().item()
    return right / max(1, found.sum().item()), right / where.sum().item()


@pytest.mark.parametrize("kind", ["lognormal", "some three times as large"])
def test_the_drop_in_each_image_finds_what_one_norm_for_all_does_not(kind, tmp_path):
    norms, where = scaled(kind)
    one = profile_of(norms, CalibrationSettings(), where)
    assert not one.found
    assert min(precision_recall(one, norms, where)) < 0.8
    profile = profile_of(norms, DROP, where)
    assert profile.found, profile.reasons
    assert profile.relative
    assert 1.5 < profile.tau < 2.8  # between the crowd's end and 3.25, in multiples of the median
    precision, recall = precision_recall(profile, norms, where)
    assert precision > 0.99
    assert recall > 0.99
    assert profile.mean_sinks == pytest.approx(3, abs=0.05)
    profile.save(tmp_path / "profile.json")
    again = SinkProfile.load(tmp_path / "profile.json")
    assert again == profile
    assert torch.equal(again.mask(states(norms)), profile.mask(states(norms)))


def test_images_that_are_large_as_a_whole_are_no_sinks():
    """15 % of the images at three times the norm, and no sink in any."""
    norms = one_mode(IMAGES, middle=40.0, spread=0.1)
    norms[: IMAGES * 15 // 100] *= 3
    one = profile_of(norms, CalibrationSettings())
    assert one.tau is not None
    assert one.mask(states(norms)).any(1).float().mean() == pytest.approx(0.15)
    profile = profile_of(norms, DROP)
    assert profile.tau is None
    assert not profile.mask(states(norms)).any()


@pytest.mark.parametrize("norms", [one_mode(), heavy_tail()], ids=["one mode", "heavy tail"])
def test_a_drop_without_a_second_population_is_no_threshold(norms):
    profile = profile_of(norms, DROP)
    assert (profile.tau, profile.found, profile.interval) == (None, False, None)
    assert "populations" in {one.name for one in profile.evidence if not one.passed}


def test_where_the_scale_is_one_both_find_the_same():
    where = at_random()
    norms = two_modes(where)
    masks = [profile_of(norms, one, where).mask(states(norms)) for one in
             (CalibrationSettings(), DROP, CalibrationSettings(relative=True))]  # fmt: skip
    assert all(torch.equal(mask, where) for mask in masks)


def test_a_fixed_multiple_of_each_image_s_median():
    norms, where = scaled("lognormal")
    settings = CalibrationSettings(method="fixed", fixed=2.0, relative=True)
    profile = profile_of(norms, settings, where)
    assert (profile.tau, profile.relative) == (2.0, True)
    assert profile.found
    assert min(precision_recall(profile, norms, where)) > 0.99


def test_the_largest_drop_by_hand():
    layout = DROP.layout(1, 6, DIM)
    norms = torch.tensor(
        [
            [1.0, 1.1, 0.9, 4.0, 4.4, 1.0],  # from 4 to 1.1: in the middle 2.1
            [1.0, 1.0, 1.0, 1.0, 1.0, 9.0],  # from 9 to 1: 3
            [0.01, 1.0, 1.0, 1.2, 1.0, 1.0],  # the drop at the low end is in the lower half
        ]
    )
    edges = layout.edges[largest_drop(layout, norms)]
    np.testing.assert_allclose(edges, [(4 * 1.1) ** 0.5, 3, 1.2**0.5], rtol=0.023)
    assert layout.edges[largest_drop(layout, torch.ones(1, 1))[0]] == 1.0


def test_statistics_of_the_other_kind_are_refused():
    norms, where = scaled("lognormal")
    layout = CalibrationSettings().layout(SIDE, SIDE, DIM, replicates=5)
    statistics = measure(layout, states(norms), attended(where), attended(where), names(IMAGES))
    with pytest.raises(ValueError, match="'drop' with relative=False needs the other"):
        calibrate(statistics, IDENTITY, DROP)


def test_any_split_adds_up_to_the_same():
    norms, _ = scaled("lognormal")
    norms, layout = norms[:30], DROP.layout(SIDE, SIDE, DIM, replicates=20)
    hidden, even = states(norms), torch.ones(30, SIDE * SIDE)
    whole = measure(layout, hidden, even, even, names(30))
    parts = [
        measure(layout, hidden[i::7], even[i::7], even[i::7], names(30)[i::7])
        for i in (3, 0, 6, 2, 5, 1, 4)
    ]
    assert total(parts, layout).digest == whole.digest
    assert isinstance(whole, Statistics)
    assert whole.tables["drops"][0].sum() == 30
