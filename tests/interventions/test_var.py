"""VAR: one matrix by hand, what holds for any, and a model under it."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diysink.interventions import VAR, Drop, intervene, visual_norms
from tests.interventions.tiny_lvlms import Tiny
from tests.interventions.tiny_parts import IMAGE

# Columns: text, sink, patch, patch, text. Rows: an image-centric head, one that looks at the sink,
# one that looks at text.
WEIGHTS = torch.tensor(
    [[0.1, 0.2, 0.3, 0.1, 0.3], [0.1, 0.5, 0.1, 0.1, 0.2], [0.85, 0.05, 0.05, 0.05, 0.0]]
)[None, :, None, :]
VISUAL = torch.tensor([[False, True, True, True, False]])
SINKS = torch.tensor([[False, True, False, False, False]])
AFTER = torch.tensor([[True]])


def test_by_hand():
    after = VAR().recycle(WEIGHTS, VISUAL, SINKS, AFTER)[0, :, 0]
    # .6 of .2 goes to the patches, three quarters of it to the first.
    expected = torch.tensor([0.1, 0.08, 0.3 + 0.09, 0.1 + 0.03, 0.3])
    torch.testing.assert_close(after[0], expected)
    assert torch.equal(after[1:], WEIGHTS[0, 1:, 0])


def test_text_sinks_pay_too():
    sinks = torch.tensor([[True, True, False, False, False]])
    after = VAR().recycle(WEIGHTS, VISUAL, sinks, AFTER)[0, 0, 0]
    expected = torch.tensor([0.04, 0.08, 0.3 + 0.135, 0.1 + 0.045, 0.3])
    torch.testing.assert_close(after, expected)


def test_queries_before_the_image_ends_are_left_alone():
    assert torch.equal(VAR().recycle(WEIGHTS, VISUAL, SINKS, ~AFTER), WEIGHTS)


@given(st.integers(0, 1000), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_rows_still_add_up_to_one(seed, share, mass, ratio):
    torch.manual_seed(seed)
    weights = torch.randn(2, 3, 4, 7).softmax(-1)
    visual, sinks = torch.rand(2, 7) < 0.6, torch.rand(2, 7) < 0.3
    after = torch.rand(2, 4) < 0.8
    new = VAR(share, mass, ratio).recycle(weights, visual, sinks, after)
    torch.testing.assert_close(new.sum(-1), torch.ones(2, 3, 4))
    assert (new >= 0).all()
    untouched = ~(visual | sinks)[:, None, None].expand_as(weights)
    assert torch.equal(new[untouched], weights[untouched])


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="share is 60"):
        VAR(share=60.0)


def eager(tiny):
    """The language model's stock attention that holds its weights, for the time of a call."""
    language = tiny.model.model.get_decoder()
    language.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            return tiny.model(**tiny.inputs, output_attentions=True)
    finally:
        language.set_attn_implementation("sdpa")


def middle(tiny):
    return float(torch.cat(visual_norms(tiny.model, **tiny.inputs)).nanmedian())


EVERYWHERE = {"visual_mass": 0.0, "non_sink_ratio": 0.0, "first_layer": 0}


def test_no_share_is_stock(tiny):
    stock = eager(tiny).logits
    with torch.no_grad(), intervene(tiny.model, VAR(share=0.0, **EVERYWHERE), tau=middle(tiny)):
        assert torch.equal(tiny.model(**tiny.inputs).logits, stock)
    with torch.no_grad(), intervene(tiny.model, VAR(share=0.9, **EVERYWHERE), tau=middle(tiny)):
        assert not torch.allclose(tiny.model(**tiny.inputs).logits, stock, atol=1e-3)


def test_the_matrix_of_a_model_is_what_the_function_makes_of_the_stock_one(llava):
    """Only one layer changes, so that its stock matrix is known; all but the last may."""
    tau, ids = middle(llava), llava.inputs["input_ids"]
    stock = eager(llava).attentions
    visual = ids == IMAGE
    sinks = torch.zeros_like(visual)
    sinks[visual] = torch.cat(visual_norms(llava.model, **llava.inputs)) >= tau
    after = visual.flip(1).cumsum(1).flip(1) == 0
    var = VAR(share=0.5, visual_mass=0.1, non_sink_ratio=0.1, first_layer=1)
    with torch.no_grad(), intervene(llava.model, var, tau=tau):
        ours = llava.model(**llava.inputs, output_attentions=True).attentions
    assert len(stock) == 3
    torch.testing.assert_close(ours[0], stock[0])
    torch.testing.assert_close(ours[1], var.recycle(stock[1], visual, sinks, after))
    assert not torch.allclose(ours[1], stock[1])


def test_sinks_of_the_language_model_itself(llava):
    """With a dimension and a threshold that every token passes, every token pays."""
    every = VAR(share=0.5, dimensions=(0, 1, 2), threshold=0.0, **EVERYWHERE)
    none = VAR(share=0.5, dimensions=(0, 1, 2), threshold=1e9, **EVERYWHERE)
    few = VAR(share=0.5, dimensions=(0, 1, 2), threshold=1.5, **EVERYWHERE)
    stock = eager(llava).logits
    results = []
    for var in (every, none, few):
        with torch.no_grad(), intervene(llava.model, var, tau=1e9):
            results.append(llava.model(**llava.inputs).logits)
    assert torch.equal(results[0], stock)  # no patch is left to get anything
    assert torch.equal(results[1], stock)
    assert not torch.allclose(results[2], stock, atol=1e-3)


ASKED = {
    "max_new_tokens": 4,
    "output_logits": True,
    "return_dict_in_generate": True,
    "do_sample": False,
}


def assert_cached_is_uncached(tiny, interventions, tau):
    with torch.no_grad(), intervene(tiny.model, interventions, tau=tau):
        cached = tiny.model.generate(**tiny.inputs, **ASKED)
        full = tiny.model.generate(**tiny.inputs, **ASKED, use_cache=False)
    with torch.no_grad():
        stock = tiny.model.generate(**tiny.inputs, **ASKED)
    assert torch.equal(cached.sequences, full.sequences)
    torch.testing.assert_close(cached.logits, full.logits, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(cached.logits[0], stock.logits[0], atol=1e-3)


def test_generation_is_what_a_call_without_cache_computes(shape):
    assert_cached_is_uncached(shape, VAR(share=0.8, **EVERYWHERE), middle(shape))
    both = [Drop("sink"), VAR(share=0.8, **EVERYWHERE)]
    assert_cached_is_uncached(shape, both, middle(shape))


def test_sinks_of_the_language_model_last_as_long_as_the_cache(llava):
    """One word of the prompt is made massive in one dimension, as a first token is in Llama."""
    made = Tiny("llava", deepcopy(llava.model), llava.inputs, llava.tokens)
    with torch.no_grad():
        made.model.get_input_embeddings().weight[:, 0] = 0
        made.model.get_input_embeddings().weight[11, 0] = 1e3
        made.model.get_input_embeddings().weight[14, 0] = 1e3
    var = VAR(share=0.8, dimensions=(0,), threshold=3.5, **EVERYWHERE)
    assert_cached_is_uncached(made, var, 1e9)


def test_attention_without_weights_is_refused(llava):
    config = llava.model.model.language_model.config
    before = config._attn_implementation
    config._attn_implementation = "flash_attention_2"
    try:
        with (
            pytest.raises(ValueError, match="attends with 'flash_attention_2'"),
            intervene(llava.model, VAR(), tau=1.0),
        ):
            pass
    finally:
        config._attn_implementation = before
