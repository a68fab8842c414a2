"""Types of sinks, planted one by one, and images without any."""

import pytest
import torch

from diysink.census.card import make_card
from diysink.census.layer import SeenLayer
from diysink.census.totals import Totals
from tests.census.layers import PREFIX, look

IMAGES, GRID, DIM = 240, (6, 6), 16
PATCHES = GRID[0] * GRID[1]
ABOUT = {"model": {"name": "planted", "family": "made"}, "images": {}, "software": {}}


def card(*, places=None, contrast=1.0, towards=None, scales=None):
    """One layer of planted patches.

    Args:
        places: the high-norm patches of each image.
        contrast: of the pixels there; elsewhere it is 1.
        towards: the token that all heads look at.
        scales: of each image's states.
    """
    generator = torch.Generator().manual_seed(0)
    tokens = PREFIX + PATCHES
    hidden = torch.randn(IMAGES, tokens, DIM, generator=generator)
    hidden /= hidden.norm(dim=-1, keepdim=True)
    hidden *= 1 + 0.1 * torch.randn(IMAGES, tokens, 1, generator=generator)
    pixels = torch.ones(IMAGES, PATCHES)
    values = torch.randn(IMAGES, tokens, 8, generator=generator)
    if places is not None:
        row = torch.arange(IMAGES)[:, None]
        hidden[row, PREFIX + places] *= 8
        pixels[row, places] = contrast
    if scales is not None:
        hidden *= scales[:, None, None]
    heads = look(towards, values, sharpness=8.0)
    if towards is None and places is not None:  # sinks get a little more attention than others
        heads.received[row, :, PREFIX + places] *= 1.5
    names = [f"{number:064x}" for number in range(IMAGES)]
    totals = Totals()
    seen = SeenLayer(1, hidden, PREFIX, heads, pixels, names)
    totals.add(seen, GRID, replicates=100, seed=0)
    totals.count = IMAGES
    return make_card(totals, ABOUT, [1]).plain


def types(plain):
    return [one["type"] for one in plain["verdict"]["types"]]


def anywhere(count=2):
    generator = torch.Generator().manual_seed(1)
    return torch.stack(
        [torch.randperm(PATCHES, generator=generator)[:count] for _ in range(IMAGES)]
    )


def test_sinks_on_plain_background():
    found = card(places=anywhere(), contrast=0.4)
    assert types(found) == ["background"]
    assert (found["verdict"]["onset"], found["verdict"]["last"]) == (1, 1)
    metrics = found["layers"][0]["metrics"]
    assert metrics["sinks_per_image"]["value"] == pytest.approx(2)
    assert 1.3 < metrics["tau"]["value"] < 6


def test_sinks_on_objects():
    assert types(card(places=anywhere(), contrast=2.5)) == ["object"]


@pytest.mark.parametrize("corners", [[0, 5], [0, 35]])
def test_sinks_at_a_fixed_place_are_a_type(corners):
    places = torch.tensor(corners).expand(IMAGES, 2)
    assert types(card(places=places, contrast=0.4)) == ["fixed place"]


def test_no_sinks():
    found = card()
    assert types(found) == ["none"]
    assert found["verdict"]["onset"] is None
    assert found["layers"][0]["metrics"]["tau"] is None


def test_images_of_different_scale_have_no_sinks_for_that():
    generator = torch.Generator().manual_seed(2)
    scales = torch.exp(0.4 * torch.randn(IMAGES, generator=generator))
    assert types(card(scales=scales)) == ["none"]


def test_a_class_token_that_all_heads_look_at_is_attention_only():
    found = card(towards=torch.zeros(IMAGES, dtype=torch.long))
    assert types(found) == ["attention only"]
    metrics = found["layers"][0]["metrics"]
    assert metrics["received_class"]["value"] == 1
    assert metrics["event"]["value"] == 1
    assert metrics["concentration"]["low"] > 1000
