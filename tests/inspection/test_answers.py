"""Massive dimensions are taken out of V-sinks and of nothing else; the control is random."""

import torch

from diysink.analysis.massive import MassiveRule
from diysink.analysis.subject import EncodedImages
from diysink.inspection.answers import answers_without, massive_of, random_dimensions, without
from diysink.inspection.flow import Shown

WIDTH, MASSIVE = 256, [3, 17]


class Asks:
    """Answers whether the first massive dimension is massive in any token."""

    def __init__(self, features):
        self.own = features

    def features(self, encoded):
        return self.own, encoded.sinks

    def answers(self, encoded, texts, tokens, features=None):
        seen = self.own if features is None else features
        return ["massive" if seen[..., MASSIVE[0]].abs().max() > 50 else "not"]


def made(massive):
    torch.manual_seed(0)
    features = torch.randn(1, 20, WIDTH)
    sinks = torch.zeros(1, 20, dtype=torch.bool)
    sinks[0, [4, 9]] = True
    if massive:
        features[:, [4, 9]] *= 0.1
        for dimension in MASSIVE:
            features[0, [4, 9], dimension] = 100.0
    encoded = EncodedImages(None, features, features.norm(dim=-1), sinks, (4, 5), 0)
    return Asks(features), Shown(encoded, torch.zeros(1, 20, dtype=torch.bool), ("image",))


def test_the_trigger_is_found_and_random_dimensions_do_nothing():
    subject, shown = made(massive=True)
    found = answers_without(subject, shown, "a", WIDTH, MassiveRule(), 0)
    assert found["massive_dimensions"] == 2
    assert found["same_answers"] == 0
    assert found["same_answers_random"] == 1
    assert found["with_massive"] == 1


def test_where_nothing_is_massive_nothing_is_asked():
    subject, shown = made(massive=False)
    found = answers_without(subject, shown, "a", WIDTH, MassiveRule(), 0)
    assert found["massive_dimensions"] == found["with_massive"] == 0
    assert found["same_answers"].isnan()


def test_only_sinks_change_and_only_there():
    subject, shown = made(massive=True)
    features, sinks = subject.own, shown.encoded.sinks[0]
    dimensions = massive_of(features[0][sinks], MassiveRule())
    assert dimensions.tolist() == MASSIVE
    changed = without(features, sinks, dimensions)
    different = (changed != features)[0]
    assert different.any(1).nonzero()[:, 0].tolist() == [4, 9]
    assert different.any(0).nonzero()[:, 0].tolist() == MASSIVE
    expected = features[0, ~sinks][:, MASSIVE].mean(0)
    torch.testing.assert_close(changed[0, 4, MASSIVE], expected)
    drawn = random_dimensions(dimensions, WIDTH, "image", 0)
    assert len(drawn) == 2
    assert not set(drawn.tolist()) & set(MASSIVE)
    assert drawn.tolist() == random_dimensions(dimensions, WIDTH, "image", 0).tolist()
