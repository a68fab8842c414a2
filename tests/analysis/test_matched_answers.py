"""Random-matched tokens in place of sinks: what the language model then sees."""

import pytest
import torch

from diysink.analysis.matched_answers import matched_in_place_of_sinks
from diysink.analysis.random_matched import random_matched_tokens
from diysink.artifact import digest_bytes
from diysink.selection import Choice
from tests.tiny_models import tiny_generator


@pytest.fixture(params=["natural", "front", "end"])
def model(parts, request):
    return tiny_generator(parts, sinks=0.5, arrangement=request.param).model


def shown(model, pixels, route):
    """The visual tokens that the language model sees, item by item."""
    ids = torch.full((len(pixels), 9), model.config.image_token_id)
    spliced = model.model.splice(
        ids, None, model.model.see(pixels), choice=Choice.of([route] * len(pixels))
    )
    return [embeds[mask] for embeds, mask in zip(spliced.embeds, spliced.visual, strict=True)]


@torch.no_grad()
def test_as_many_others_are_seen_alone_or_all_but_those_in_the_models_order(model):
    torch.manual_seed(1)
    pixels = torch.randn(3, 3, 12, 12)
    true = model.model.see(pixels)
    assert true.sinks.any(1).all()
    keys = [digest_bytes(p.numpy().tobytes()) for p in pixels]
    matched = random_matched_tokens(true.sinks, keys, 0)
    with matched_in_place_of_sinks(model, 0):
        alone, rest, both = (shown(model, pixels, route) for route in ("sink", "nonsink", "both"))
    for item in range(3):
        features, sinks = true.features[item], true.sinks[item]
        order = {
            "natural": torch.arange(9),
            "front": torch.argsort((~sinks).int(), stable=True),
            "end": torch.argsort(sinks.int(), stable=True),
        }[model.config.arrangement]
        chosen = matched[item][order]
        torch.testing.assert_close(alone[item], features[order][chosen])
        torch.testing.assert_close(rest[item], features[order][~chosen])
        assert len(both[item]) == 9


def test_the_model_is_as_before_even_after_an_error(model):
    pixels = torch.randn(2, 3, 12, 12)
    before = model.model.see(pixels)
    with pytest.raises(KeyError), matched_in_place_of_sinks(model, 0):
        raise KeyError
    after = model.model.see(pixels)
    assert torch.equal(before.sinks, after.sinks)
    assert torch.equal(before.features, after.features)
    assert "see" not in vars(model.model)
