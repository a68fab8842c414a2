"""Three populations leave two thresholds: the profile names both, and the user chooses."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from diysink.sinks import CalibrationSettings, Layout, SinkProfile, calibrate, measure_norms
from tests.sinks.populations import IDENTITY, names

PATCHES = 576


def populations(*further, spread=0.15, images=100):
    """Norms about 40, and of each image some tokens of further populations.

    Args:
        further: median, spread in logarithms, and tokens per image.
    """
    rng = np.random.default_rng(0)
    norms = 40 * np.exp(spread * rng.normal(size=(images, PATCHES)))
    for row in norms:
        places = rng.permutation(PATCHES)
        for middle, width, tokens in further:
            here, places = places[:tokens], places[tokens:]
            row[here] = middle * np.exp(width * rng.normal(size=tokens))
    return list(torch.tensor(norms, dtype=torch.float32))


def profile_of(norms, anchor=100.0, **settings):
    statistics = measure_norms(Layout(anchor=anchor, replicates=50), norms, names(len(norms)))
    return calibrate(statistics, IDENTITY, CalibrationSettings(fixed=anchor, **settings))


def rivals_of(profile):
    return next((one for one in profile.evidence if one.name == "rivals"), None)


CASES = {
    "40, 70 and 100": (
        populations((70, 0.04, 40), (100, 0.06, 3)), (52, 65, 43), (78, 92, 3)
    ),
    "40, 100 and 400": (
        populations((100, 0.06, 20), (400, 0.06, 3), spread=0.08), (150, 260, 3), (55, 80, 23)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_other_gap_is_named_and_makes_the_choice_doubtful(case, tmp_path):
    norms, (low, high, sinks), (rival_low, rival_high, rival_sinks) = CASES[case]
    profile = profile_of(norms)
    assert low < profile.tau < high
    assert profile.mean_sinks == pytest.approx(sinks, rel=0.06)  # and some of the crowd
    (rival,) = profile.rivals
    assert rival_low < rival.tau < rival_high
    assert rival.sinks_per_image == pytest.approx(rival_sinks, rel=0.02)
    assert rival.depth > 0.8
    evidence = rivals_of(profile)
    assert not evidence.passed
    assert 0.4 < evidence.value < 1.2
    assert not profile.found
    assert evidence.says in profile.reasons
    profile.save(tmp_path / "profile.json")
    assert SinkProfile.load(tmp_path / "profile.json") == profile


def test_a_fixed_tau_chooses():
    norms, *_ = CASES["40, 100 and 400"]
    (rival,) = profile_of(norms).rivals
    chosen = profile_of(norms, anchor=rival.tau, method="fixed")
    assert (chosen.tau, chosen.rivals, rivals_of(chosen)) == (rival.tau, (), None)
    assert chosen.mean_sinks == rival.sinks_per_image
    assert chosen.found, asdict(chosen)["evidence"]


@pytest.mark.parametrize("images", [20, 100])
@pytest.mark.parametrize("sinks", [(100, 0.1, 3), (130, 0.1, 3), (130, 0.1, 1), (400, 0.5, 6)])
def test_two_populations_have_no_rival(sinks, images):
    profile = profile_of(populations(sinks, images=images))
    assert profile.rivals == ()
    assert rivals_of(profile).value == 0.0
    assert rivals_of(profile).passed


def test_a_narrow_gap_beside_a_wide_one_is_named_and_does_not_count():
    profile = profile_of(populations((100, 0.06, 3), (4000, 0.06, 3), spread=0.15))
    (rival,) = profile.rivals
    assert 60 < rival.tau < 90
    assert rivals_of(profile).value < 0.2
    assert rivals_of(profile).passed
