"""Exactness at the edges: what must equal what, and what each odd case is defined to be.

The model against stock LLaVA is in test_model.py, checkpoints in test_conversion.py.
"""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, CLIPVisionConfig, CLIPVisionModel

from diysink.encoders import Encoder
from diysink.model import Parts, Visual, assemble
from diysink.selection import Choice, Route
from diysink.sinks import token_norms
from tests.tiny_models import LANGUAGES, TOWERS, VISION

IMAGE, TOKENS = 3, 9


def build(folder, connector="dual", arrangement="front", tau=None, **changes):
    model = assemble(
        Parts(encoder=str(folder / "encoder"), language=str(folder / "language"), **changes),
        None,
        connector=connector,
        arrangement=arrangement,
    ).model.eval()
    model.config.tau = tau
    return model


def prompt(images=1, tail=2, tokens=TOKENS):
    """Ids: USER:, the placeholders, some words, ASSISTANT:."""
    return [4, *[IMAGE] * (tokens * images), *range(6, 6 + tail), 5]


def batch(rows, side="right"):
    longest = max(map(len, rows))
    pads = [[0] * (longest - len(row)) for row in rows]
    ones = [[1] * len(row) for row in rows]
    both = [(r + p, o + p) if side == "right" else (p + r, p + o)
            for r, o, p in zip(rows, ones, pads, strict=True)]  # fmt: skip
    ids, mask = zip(*both, strict=True)
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def middle(model, pixels):
    norms = token_norms(model.model.visual_states(pixels).detach())
    return float(norms.quantile(0.65))


@pytest.fixture
def pixels():
    torch.manual_seed(3)
    return torch.randn(4, 3, 12, 12)


@pytest.fixture
def model(parts, pixels):
    model = build(parts)
    model.config.tau = middle(model, pixels)
    return model


def spliced(model, rows, pixels, **options):
    return model.model.splice(**rows, visual=model.model.see(pixels), **options)


# Several images, and different numbers of them.


def test_prompts_with_none_one_and_two_images_are_what_each_is_alone(model, pixels):
    rows = [prompt(0, 5), prompt(1), prompt(2, 3)]
    owners, start = [[], [0], [1, 2]], 0
    choice = Choice(torch.tensor([[1.0, 1.0], [1.0, 0.5], [2.0, 1.0]]),
                    (Route.SINK, Route.NONSINK, Route.BOTH))  # fmt: skip
    together = model(**batch(rows), pixel_values=pixels[:3], choice=choice).logits
    mask = spliced(model, batch(rows), pixels[:3], choice=choice).mask.bool()
    for i, row in enumerate(rows):
        mine = pixels[start : start + len(owners[i])]
        start += len(owners[i])
        alone = model(
            input_ids=torch.tensor([row]), pixel_values=mine if len(mine) else None,
            choice=Choice(choice.weights[i : i + 1], choice.routes[i : i + 1]),
        ).logits[0]  # fmt: skip
        torch.testing.assert_close(together[i, mask[i]], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("arrangement", ["natural", "front", "end"])
def test_padding_on_either_side_answers_the_same(model, pixels, arrangement):
    model.config.arrangement = arrangement
    rows = [prompt(1, 1), prompt(2, 4)]
    options = {"pixel_values": pixels[:3], "max_new_tokens": 4, "do_sample": False}
    answers = []
    for side in ("left", "right"):
        inputs = batch(rows, side)
        out = model.generate(**inputs, **options, eos_token_id=None)
        assert torch.equal(out[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
        answers.append(out[:, inputs["input_ids"].shape[1] :])
    assert torch.equal(*answers)


# Weights and routes.


def test_weight_zero_is_a_route_but_for_the_places_it_keeps(model, pixels):
    """Weights (1, 0) leave zero vectors where a route leaves nothing.

    The language model still gives those places attention; with them masked, and the others'
    positions closed up, the logits are the route's.
    """
    inputs = batch([prompt(1), prompt(1, 4)])
    zero = Choice(torch.tensor([[1.0, 0.0]] * 2), (Route.BOTH,) * 2)
    kept = spliced(model, inputs, pixels[:2], choice=zero)
    gone = kept.visual & ~kept.sinks
    assert gone.any()
    assert not kept.embeds[gone].any()
    keep = kept.mask.bool() & ~gone
    length = keep.shape[1]
    causal = torch.tril(torch.ones(length, length, dtype=torch.bool))
    allowed = (causal & keep[:, None, :])[:, None] | torch.eye(length, dtype=torch.bool)
    bias = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    masked = model(
        inputs_embeds=kept.embeds, attention_mask=bias,
        position_ids=(keep.long().cumsum(1) - 1).clamp(min=0),
    ).logits  # fmt: skip
    route = Choice.of(["sink", "sink"])
    sinks = model(**inputs, pixel_values=pixels[:2], choice=route).logits
    true = spliced(model, inputs, pixels[:2], choice=route).mask.bool()
    torch.testing.assert_close(masked[keep], sinks[true], atol=1e-6, rtol=1e-5)
    weighted = model(**inputs, pixel_values=pixels[:2], choice=zero).logits
    assert not torch.allclose(weighted[keep], sinks[true], atol=1e-4)  # the places do count


def test_weights_of_one_are_no_weights_to_the_bit(model, pixels):
    inputs = batch([prompt(1), prompt(1, 4)])
    ones = Choice(torch.ones(2, 2), (Route.BOTH,) * 2)
    plain = model(**inputs, pixel_values=pixels[:2]).logits
    assert torch.equal(model(**inputs, pixel_values=pixels[:2], choice=ones).logits, plain)


# Odd images.


@pytest.mark.parametrize("tau", [1e9, 0.0])
def test_without_sinks_or_with_nothing_else_every_route_is_both(model, pixels, tau):
    model.config.tau = tau
    inputs = {**batch([prompt(1)]), "pixel_values": pixels[:1]}
    both = model(**inputs).logits
    for route in ("sink", "nonsink"):
        assert torch.equal(model(**inputs, choice=Choice.of([route])).logits, both)


@pytest.fixture(scope="module")
def single_patch(tmp_path_factory):
    """A CLIP whose picture is one patch, and a language model."""
    root = tmp_path_factory.mktemp("patch")
    torch.manual_seed(0)
    CLIPVisionModel(CLIPVisionConfig(**{**VISION, "image_size": 4})).save_pretrained(
        root / "encoder"
    )
    settings = {
        "image_processor_type": "CLIPImageProcessor", "size": {"height": 4, "width": 4},
        "do_center_crop": False,
    }  # fmt: skip
    (root / "encoder" / "preprocessor_config.json").write_text(json.dumps(settings))
    AutoModelForCausalLM.from_config(LANGUAGES["llama"]()).save_pretrained(root / "language")
    return root


@pytest.mark.parametrize("tau", [None, 0.0])
def test_an_image_of_one_token(single_patch, tokenizer, tau):
    tokenizer.save_pretrained(single_patch / "language")
    model = build(single_patch, tau=tau)
    assert model.config.image_seq_length == 1
    inputs = {**batch([prompt(1, tokens=1)]), "pixel_values": torch.randn(1, 3, 4, 4)}
    both = model(**inputs).logits
    assert both.shape[1] == 5
    for route in ("sink", "nonsink"):
        assert torch.equal(model(**inputs, choice=Choice.of([route])).logits, both)
    assert model.generate(**inputs, max_new_tokens=2, eos_token_id=None).shape == (1, 7)


def test_no_images_at_all_are_no_pixel_values(model):
    inputs = batch([prompt(0, 3), prompt(0, 5)])
    none = torch.zeros(0, 3, 12, 12)
    mask = inputs["attention_mask"].bool()
    plain = model(**inputs).logits
    torch.testing.assert_close(
        model(**inputs, pixel_values=none).logits[mask], plain[mask], atol=0, rtol=0
    )
    left = batch([prompt(0, 3), prompt(0, 5)], "left")
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}
    assert torch.equal(
        model.generate(**left, pixel_values=none, **options), model.generate(**left, **options)
    )


def test_placeholders_without_images_are_refused(model, pixels):
    with pytest.raises(ValueError, match="placeholders, but no images came"):
        model.generate(**batch([prompt(1)]), max_new_tokens=1)
    with pytest.raises(ValueError, match="18 image placeholders in the batch, but 1 images of 9"):
        model(**batch([prompt(2)]), pixel_values=pixels[:1])


def test_an_answer_of_no_tokens(model, pixels, tokenizer):
    """Asked for none, it refuses as transformers does; ending at once, its answer is empty."""
    inputs = {**batch([prompt(1)]), "pixel_values": pixels[:1]}
    with pytest.raises(ValueError, match="max_new_tokens"):
        model.generate(**inputs, max_new_tokens=0)
    first = int(model.generate(**inputs, max_new_tokens=1, do_sample=False)[0, -1])
    out = model.generate(**inputs, max_new_tokens=5, do_sample=False, eos_token_id=first)
    assert out.shape[1] == inputs["input_ids"].shape[1] + 1


def test_a_norm_too_large_for_fp16_is_still_a_norm(model):
    """Squares of 300 overflow fp16, and a norm above 65504 has no fp16 at all: norms are fp32."""
    states = torch.full((1, 3, 12), 1.0, dtype=torch.float16)
    states[0, 1] = 300.0
    states[0, 2] = 60000.0  # norm 207846
    model.config.tau = 1000.0
    assert model.model.sink_mask(states).tolist() == [[False, True, True]]
    model.config.tau = 1e5
    assert model.model.sink_mask(states).tolist() == [[False, False, True]]
    model.config.tau = 3e5  # in fp16 the norm would be infinite, and a sink for any tau
    assert not model.model.sink_mask(states).any()


def test_a_state_that_overflowed_is_a_sink_and_one_that_is_no_number_is_none(model):
    states = torch.ones(1, 2, 12)
    states[0, 0, 0], states[0, 1, 0] = torch.inf, torch.nan
    assert model.model.sink_mask(states).tolist() == [[True, False]]


# Connectors that give another number of tokens.


@pytest.fixture(params=["resampler", "dual-resampler"])
def resampling(request, parts, pixels):
    model = build(parts, request.param)
    model.config.tau = middle(model, pixels)
    return model


def test_a_resampler_says_how_many_placeholders_an_image_has(resampling, pixels):
    tokens = resampling.config.image_seq_length
    assert tokens == 72
    visual = resampling.model.see(pixels)
    assert visual.features.shape == (4, 72, 16)
    expected = 8 if resampling.config.connector == "dual-resampler" else 0
    assert visual.sinks.sum(1).tolist() == [expected] * 4
    row = {**batch([prompt(1, tokens=tokens)]), "pixel_values": pixels[:1]}
    assert resampling(**row).logits.shape[1] == tokens + 4
    with pytest.raises(ValueError, match="9 image placeholders in the batch, but 1 images of 72"):
        resampling(**batch([prompt(1)]), pixel_values=pixels[:1])


def test_routes_of_a_resampler_drop_its_queries(parts, pixels):
    model = build(parts, "dual-resampler")
    model.config.tau = middle(model, pixels)
    row = batch([prompt(1, tokens=72)])
    for route, kept in (("both", 72), ("sink", 8), ("nonsink", 64)):
        got = spliced(model, row, pixels[:1], choice=Choice.of([route]))
        assert int(got.visual.sum()) == kept
        assert model(**row, pixel_values=pixels[:1], choice=Choice.of([route])).logits.shape[1] == (
            kept + 4
        )


def test_image_features_are_the_connectors(model, pixels):
    got = model.get_image_features(pixels).pooler_output
    expected = model.model.see(pixels)
    assert isinstance(expected, Visual)
    assert torch.equal(torch.stack(list(got)), expected.features)
    with pytest.raises(ValueError, match="vision_feature_layer cannot be given"):
        model.get_image_features(pixels, vision_feature_layer=-1)


def test_the_encoders_own_tokens_never_reach_the_language_model(parts, pixels, model):
    kind = "clip" if "clip" in parts.name else "siglip"
    encoder = Encoder.of(model.model.vision_tower, -2)
    assert encoder.prefix == (1 if kind == "clip" else 0)
    assert type(model.model.vision_tower) is type(TOWERS[kind]())
    assert model.model.see(pixels).features.shape[1] == TOKENS
