"""Causes: planted ones are told, each by its own intervention, and none where there is none."""

import pytest
import torch
from transformers import ViTImageProcessorPil

import diysink
from diysink.census.causes import INTERVENTIONS, added_positions, changed_key, find_causes, swapped
from diysink.census.layer import Walk
from diysink.census.page import render
from diysink.encoders import Encoder
from tests.census.bright import BLOCK, GREEN, SIZE, bright_model, images
from tests.encoders.towers import MAKERS, SIDE, make

PLACE = 6  # of the patch that has a high norm in the model whose positions are the cause


def by_position():
    """One place has what other patches have when they are bright."""
    model = bright_model(True)
    with torch.no_grad():
        tower = model.base_model
        tower.embeddings.patch_embeddings.projection.weight[GREEN] = 0
        tower.embeddings.patch_embeddings.projection.bias[GREEN] = -3
        tower.embeddings.position_embeddings.normal_(std=0.02)
        tower.embeddings.position_embeddings[0, 1 + PLACE, GREEN] = 6
    return model


def by_key_magnitude():
    """All keys of a block point the same way, and that of the bright patch is long."""
    model = bright_model(True)
    with torch.no_grad():
        attention = model.base_model.layers[BLOCK].attention
        for module, weight, bias in ((attention.k_proj, 0.2, 2.0), (attention.q_proj, 0.0, 2.0)):
            module.weight.zero_()
            module.weight[:, GREEN] = weight
            module.bias.fill_(bias)
    return model


def found(model, bright=True):
    processor = ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})
    card = diysink.inspect(
        model, images(48, bright), processor=processor, progress=False, causes=True
    )
    return card.plain


def rows(card, metric, layer=BLOCK + 1):
    """Of each intervention: the value untouched, the intervention's row and its control's."""
    base = pick(card["causes_about"]["untouched"], metric=metric, layer=layer)["value"]
    return {
        name: (
            base,
            *(
                pick(card["causes"], metric=metric, layer=layer, intervention=name, control=control)
                for control in (False, True)
            ),
        )
        for name in INTERVENTIONS
    }


def pick(table, **what):
    (one,) = [row for row in table if all(row[key] == value for key, value in what.items())]
    return one


@pytest.fixture(scope="module")
def positioned():
    return found(by_position(), bright=False)


def test_a_place_is_told(positioned):
    assert positioned["causes_about"]["skipped"] == {}
    assert positioned["causes_about"]["images"] == 48
    there = rows(positioned, "norm_at_patch")
    base, moved, control = there["position"]
    assert moved["high"] < -0.8 * base  # nearly all of it goes
    assert moved["beyond"]["high"] < -0.8 * base
    assert abs(control["value"]) < 0.02 * base
    assert abs(rows(positioned, "norm_ratio")["position"][1]["value"]) < 0.05 * base  # it moves
    for name in INTERVENTIONS[1:]:
        assert abs(there[name][1]["value"]) < 0.02 * base


def test_the_length_of_a_key_is_told():
    card = found(by_key_magnitude())
    attention = rows(card, "attention_at_patch")
    base, short, control = attention["key magnitude"]
    assert base > 3
    assert short["beyond"]["high"] < -0.5 * base
    assert abs(control["value"]) < 0.1 * base
    assert abs(attention["key direction"][1]["value"]) < 0.02 * base
    assert rows(card, "concentration")["key magnitude"][1]["high"] < 0
    assert attention["attention blocked"][1]["value"] == pytest.approx(-base, rel=1e-4)


def test_a_cause_that_is_none_of_these_leaves_the_norm_as_it_is():
    card = found(bright_model(True))
    for base, changed, control in rows(card, "norm_at_patch").values():
        assert base > 5
        assert abs(changed["value"]) < 0.1 * base
        assert abs(control["value"]) < 0.1 * base


def test_the_page_shows_them(positioned):
    text = render(positioned, [])
    assert 'id="causes"' in text
    for name in INTERVENTIONS:
        assert name in text


def test_the_card_has_none_unless_it_is_asked():
    processor = ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})
    card = diysink.inspect(bright_model(True), images(4), processor=processor, progress=False)
    assert "causes" not in card.plain
    assert 'id="causes"' not in render(card.plain, [])


def test_position_embeddings_are_those_of_the_model():
    pixels = torch.randn(2, 3, SIDE, SIDE)
    for family, weight in (
        ("dinov2", lambda own: own.position_embeddings[0]),
        ("clip", lambda own: own.position_embedding.weight),
        ("siglip", lambda own: own.position_embedding.weight),
    ):
        encoder = Encoder.of(make(family), -1).eval()
        positions = added_positions(encoder, pixels)
        torch.testing.assert_close(
            positions, weight(encoder.embeddings).detach(), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("family", MAKERS)
def test_every_family_is_asked_or_says_why_not(family):
    encoder = Encoder.of(make(family), -1).eval()
    pixels = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    card = find_causes(Walk(encoder), [(pixels[:2], ["a", "b"]), (pixels[2:], ["c"])], 4, 20, 0)
    without = {"mlcd", "dinov3", "vit_mae", "beit"}
    assert list(card["causes_about"]["skipped"]) == ["position"] * (family in without)
    for layer in range(1, 5):
        what = {"metric": "attention_at_patch", "layer": layer}
        base = pick(card["causes_about"]["untouched"], **what)["value"]
        blocked = pick(card["causes"], intervention="attention blocked", control=False, **what)
        assert base + blocked["value"] == pytest.approx(0, abs=1e-4)


def test_one_part_of_a_key_changes():
    key = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    token, other = torch.tensor([1, 4]), torch.tensor([0, 2])
    lengths, cosine = (lambda one: one.norm(dim=-1)), torch.nn.functional.cosine_similarity
    for image, (at, by) in enumerate(zip(token, other, strict=True)):
        turned, _ = changed_key("key direction", token, other)(key, None)
        one, own, theirs = turned[image, :, at], key[image, :, at], key[image, :, by]
        torch.testing.assert_close(lengths(one), lengths(own))
        torch.testing.assert_close(cosine(one, theirs), torch.ones(3))
        long, _ = changed_key("key magnitude", token, other)(key, None)
        torch.testing.assert_close(lengths(long[image, :, at]), lengths(theirs))
        torch.testing.assert_close(cosine(long[image, :, at], own), torch.ones(3))
        rest = [place for place in range(5) if place != at]
        assert torch.equal(turned[image][:, rest], key[image][:, rest])


def test_a_mask_of_the_model_is_kept():
    key, token = torch.zeros(1, 1, 3, 2), torch.tensor([1])
    allowed = torch.tensor([[[[True, True, False]]]])
    _, mask = changed_key("attention blocked", token, token)(key, allowed)
    assert mask.flatten().tolist() == [True, False, False]
    _, mask = changed_key("attention blocked", token, token)(key, torch.ones(1, 1, 3, 3))
    assert mask[0, 0, 2].tolist() == [1, -torch.inf, 1]


def test_a_swap_exchanges_position_embeddings_alone():
    content, positions = torch.randn(2, 5, 4), torch.randn(5, 4)
    swap = swapped(positions, torch.tensor([1, 2]), torch.tensor([3, 4]))
    places = torch.tensor([[0, 3, 2, 1, 4], [0, 1, 4, 3, 2]])
    torch.testing.assert_close(swap(content + positions), content + positions[places])
