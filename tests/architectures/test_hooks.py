"""Captured is what ran, and everything is undone, also after an error."""

from contextlib import ExitStack, suppress

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from diysink.architectures import UnsupportedModelError, decoder_layers
from diysink.architectures.hooks import (
    after_forward,
    capture_outputs,
    eager_attention,
    is_patched,
    on_hidden_states,
    on_layer,
    patch_method,
)


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=32,
        attn_implementation="sdpa",
    )
    return LlamaModel(config).eval()


def run(model):
    with torch.no_grad():
        return model(
            torch.arange(10).reshape(2, 5), output_hidden_states=True, output_attentions=True
        )


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_layers_are_shown_as_the_model_itself_returns_them(llama):
    shown, states = [], {}
    with (
        eager_attention(llama),
        on_layer(decoder_layers(llama), "self_attn", shown.append),
        on_hidden_states(llama.layers[:2], states.__setitem__),
        capture_outputs([llama.layers[1], llama.layers[0]]) as outputs,
    ):
        own = run(llama)
    assert [layer.number for layer in shown] == [0, 1, 2]
    for layer, hidden, attention in zip(shown, own.hidden_states[:3], own.attentions, strict=True):
        assert torch.equal(layer.states, hidden)
        assert torch.equal(layer.attention, attention)
        assert layer.values.shape == (2, 2, 5, 4)
    first = llama.layers[0]
    values = first.self_attn.v_proj(first.input_layernorm(own.hidden_states[0]))
    assert torch.equal(shown[0].values.transpose(1, 2).flatten(2), values)
    assert all(torch.equal(states[index], own.hidden_states[index]) for index in range(3))
    assert torch.equal(outputs[0], own.hidden_states[2])
    assert torch.equal(outputs[1], own.hidden_states[1])


def test_all_is_undone_after_an_error(llama):
    before = hooks(llama)
    with ExitStack() as stack, suppress(RuntimeError):
        stack.enter_context(eager_attention(llama))
        stack.enter_context(on_layer(llama.layers, "self_attn", print))
        stack.enter_context(on_hidden_states(llama.layers, print))
        stack.enter_context(capture_outputs(llama.layers))
        stack.enter_context(patch_method(llama, "forward", lambda original: None))
        assert hooks(llama) > before
        assert is_patched(llama)
        assert llama.config._attn_implementation == "eager"
        raise RuntimeError
    assert hooks(llama) == before
    assert not is_patched(llama)
    assert "forward" not in vars(llama)
    assert llama.config._attn_implementation == "sdpa"


def test_an_output_can_be_changed_and_a_method_patched(llama):
    plain = run(llama).last_hidden_state
    with after_forward(llama.norm, lambda output: output + 1):
        assert torch.equal(run(llama).last_hidden_state, plain + 1)
    with patch_method(llama.norm, "forward", lambda original, states: original(states) * 2):
        assert torch.equal(run(llama).last_hidden_state, plain * 2)
    assert torch.equal(run(llama).last_hidden_state, plain)


def test_what_a_model_does_not_show_is_said(llama):
    with pytest.raises(UnsupportedModelError, match=r"no attn\.v_proj"):
        on_layer(llama.layers, "attn", print).__enter__()
    with (
        on_layer(llama.layers, "self_attn", print),
        pytest.raises(UnsupportedModelError, match="returns no attention weights"),
    ):
        run(llama)
    with pytest.raises(UnsupportedModelError, match="no list 'layers'"):
        decoder_layers(llama.norm)
