"""Our own model: the same interventions, behind its own splice."""

from copy import deepcopy

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from diysink.interventions import VAR, Drop, Keep, RandomMatched, Replace, Reposition, intervene
from diysink.model import DIYSinkConfig, DIYSinkForConditionalGeneration
from tests.interventions.tiny_lvlms import Tiny

GENERATED = {"max_new_tokens": 4, "do_sample": False}


@pytest.fixture
def pair(llava):
    """A DIYSink model in natural order, half of its tokens sinks; and the LLaVA it equals."""
    settings = llava.model.config.to_dict() | {"connector": "single", "arrangement": "natural"}
    settings.pop("model_type")
    own = DIYSinkForConditionalGeneration(DIYSinkConfig(**settings)).eval()
    own.load_state_dict(llava.model.state_dict(), strict=False)
    projector = llava.model.model.multi_modal_projector.state_dict()
    own.model.multi_modal_projector.load_state_dict(projector, strict=False)
    own.generation_config = llava.model.generation_config
    states = own.model.visual_states(llava.inputs["pixel_values"])
    own.config.tau = float(states.detach().norm(dim=-1).median())
    assert isinstance(llava.model, LlavaForConditionalGeneration)
    return Tiny("diysink", own, llava.inputs, llava.tokens), llava


ANY = [
    Reposition("front"),
    Drop("sink"),
    [Keep("sink"), Reposition("end")],
    Replace("sink", "shuffle"),
    RandomMatched(Drop("sink"), seed=3),
]


@pytest.mark.parametrize("interventions", ANY, ids=str)
def test_it_answers_as_the_llava_that_it_equals(pair, interventions):
    ours, stock = pair
    tau = ours.model.config.tau
    with torch.no_grad():
        before = ours.model.generate(**ours.inputs, **GENERATED)
        assert torch.equal(before, stock.model.generate(**stock.inputs, **GENERATED))
        with intervene(stock.model, interventions, tau=tau):
            expected = stock.model.generate(**stock.inputs, **GENERATED)
        with intervene(ours.model, interventions):
            assert torch.equal(ours.model.generate(**ours.inputs, **GENERATED), expected)
        assert torch.equal(ours.model.generate(**ours.inputs, **GENERATED), before)


def test_front_is_its_own_arrangement(pair):
    ours, _ = pair
    front = deepcopy(ours.model)
    front.config.arrangement = "front"
    with torch.no_grad():
        expected = front(**ours.inputs).logits
        natural = ours.model(**ours.inputs).logits
        with intervene(ours.model, Reposition("front")):
            assert torch.equal(ours.model(**ours.inputs).logits, expected)
    assert not torch.allclose(expected, natural, atol=1e-3)


@pytest.mark.parametrize("selection", ["sink", "nonsink"])
def test_a_route_is_a_keep(pair, selection):
    ours, _ = pair
    with torch.no_grad():
        expected = ours.model.generate(**ours.inputs, **GENERATED, selection=selection)
        with intervene(ours.model, Keep(selection)):
            assert torch.equal(ours.model.generate(**ours.inputs, **GENERATED), expected)


def test_what_cannot_be_done_is_refused(pair):
    ours, _ = pair
    for interventions, threshold, match in (
        ([], {"tau": 1.0}, "knows its sinks"),
        (VAR(), {}, "VAR does not work"),
    ):
        with (
            pytest.raises(ValueError, match=match),
            intervene(ours.model, interventions, **threshold),
        ):
            pass
    for carry in (Reposition("front", "carry"), Drop("sink", "carry")):
        with intervene(ours.model, carry), pytest.raises(ValueError, match="positions='reindex'"):
            ours.model.generate(**ours.inputs, **GENERATED)
    visual = ours.model.model.see(ours.inputs["pixel_values"])
    ids, mask = ours.inputs["input_ids"], ours.inputs["attention_mask"]
    with intervene(ours.model, []), pytest.raises(ValueError, match="outside the block"):
        ours.model.generate(input_ids=ids, attention_mask=mask, visual=visual, **GENERATED)


def test_a_resampler_is_refused(pair):
    ours, _ = pair
    settings = ours.model.config.to_dict() | {"connector": "resampler"}
    settings["connector_options"] = {"queries": 4}
    settings.pop("model_type")
    other = DIYSinkForConditionalGeneration(DIYSinkConfig(**settings)).eval()
    with intervene(other, []), pytest.raises(ValueError, match="'resampler'"):
        other.model.see(ours.inputs["pixel_values"])
