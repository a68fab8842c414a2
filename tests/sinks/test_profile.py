"""A profile is read back as it was written, decides the mask, and fits one encoder only."""

import dataclasses
import json

import pytest
import torch

from diysink.encoders import EncoderIdentity
from diysink.sinks import CalibrationSettings, ProfileMismatchError, SinkProfile, calibrate
from tests.sinks.populations import (
    IDENTITY,
    at_random,
    attended,
    count,
    one_mode,
    states,
    two_modes,
)


@pytest.fixture(scope="module")
def profile():
    where = at_random()
    return calibrate(count(two_modes(where), attended(where)), IDENTITY, CalibrationSettings())


def test_read_back_equal(profile, tmp_path):
    profile.save(tmp_path / "profile.json")
    loaded = SinkProfile.load(tmp_path / "profile.json")
    assert loaded == profile
    assert loaded.digest == profile.digest
    nothing = calibrate(count(one_mode()), IDENTITY, CalibrationSettings())
    nothing.save(tmp_path / "nothing.json")
    assert SinkProfile.load(tmp_path / "nothing.json") == nothing


def test_the_mask_is_the_sinks(profile):
    where = at_random(20)
    hidden = states(two_modes(where))
    assert torch.equal(profile.mask(hidden), where)
    assert torch.equal(profile.mask(hidden.to(torch.bfloat16)), where)


def test_tau_itself_is_a_sink(profile):
    at_tau = torch.zeros(1, 2, 4)
    at_tau[0, :, 0] = torch.tensor([profile.tau, profile.tau * (1 - 1e-6)])
    assert profile.mask(at_tau).tolist() == [[True, False]]


def test_without_a_threshold_nothing_is_a_sink(profile):
    hidden = states(two_modes(at_random(3)))
    assert not dataclasses.replace(profile, tau=None).mask(hidden).any()


@pytest.mark.parametrize("change", [{"digest": "1" * 64}, {"layer": 2}, {"family": "siglip"}])
def test_another_encoder_is_refused(profile, change):
    profile.check(dataclasses.replace(IDENTITY, name="renamed"))
    with pytest.raises(ProfileMismatchError, match=r"for clip made-up at layer 3 .*, not for"):
        profile.check(dataclasses.replace(IDENTITY, **change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "version 1; this program reads version 2"),
        ({"surprise": 1}, "Not a sink profile"),
        ({"encoder": {}}, "Not a sink profile"),
    ],
)
def test_another_format_is_refused(profile, tmp_path, change, message):
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(profile.to_dict() | change))
    with pytest.raises(ValueError, match=message):
        SinkProfile.load(path)


def test_identity_read_back_equal():
    assert EncoderIdentity.from_dict(IDENTITY.to_dict()) == IDENTITY
