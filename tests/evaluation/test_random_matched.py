"""Random-matched tokens in place of sinks: what the language model then sees."""

import pytest
import torch

from diysink.artifact import digest_bytes
from diysink.evaluation.random_matched import random_in_place_of_sinks
from diysink.selection import Choice
from diysink.sinks.random_matched import random_matched_tokens
from tests.tiny_models import tiny_generator


@pytest.fixture(params=["natural", "front", "end"])
def model(parts, request):
    return tiny_generator(parts, sinks=0.5, arrangement=request.param).model


def shown(model, visual, route):
    """The visual tokens that the language model sees, item by item."""
    items = len(visual.sinks)
    ids = torch.full((items, 9), model.config.image_token_id)
    spliced = model.model.splice(ids, None, visual, choice=Choice.of([route] * items))
    return [embeds[mask] for embeds, mask in zip(spliced.embeds, spliced.visual, strict=True)]


@torch.no_grad()
def test_as_many_others_are_seen_alone_or_all_but_those_in_the_models_order(model):
    torch.manual_seed(1)
    pixels = torch.randn(3, 3, 12, 12)
    true = model.model.see(pixels)
    assert true.sinks.any(1).all()
    keys = [digest_bytes(p.numpy().tobytes()) for p in pixels]
    matched = random_matched_tokens(true.sinks, keys, 0)
    visual = random_in_place_of_sinks(true, keys, model.config.arrangement, 0)
    alone, rest, both = (shown(model, visual, route) for route in ("sink", "nonsink", "both"))
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
