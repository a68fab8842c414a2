"""What a model attends with is seen, and the model is none the wiser."""

from threading import Thread

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from diysink.architectures import Attended, UnsupportedModelError, seen_attention
from diysink.encoders import Encoder
from diysink.encoders.attention import attention_received
from tests.encoders.towers import BLOCKS, PATCHES, SIDE, make


@pytest.fixture
def pixels():
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


def ignore(*_):
    pass


@torch.no_grad()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_outputs_are_the_models_own_to_the_last_bit(attention, pixels):
    model = make("dinov3")
    model.set_attn_implementation(attention)
    own, seen = model(pixels).last_hidden_state, []
    with seen_attention(model, lambda _, attended: seen.append(attended)):
        assert torch.equal(model(pixels).last_hidden_state, own)
    assert len(seen) == BLOCKS
    first = seen[0]
    assert first.query.shape == first.key.shape == first.value.shape == (2, 4, PATCHES + 5, 8)
    assert first.bias is None
    assert first.scaling == 8**-0.5
    scores = (first.query @ first.key.mT * first.scaling).softmax(-1)
    torch.testing.assert_close(first.output, (scores @ first.value).transpose(1, 2))


@torch.no_grad()
def test_queries_and_keys_are_rotated(pixels):
    """Projecting by hand, as was done before, is not what this model attends with."""
    model, seen = make("dinov3"), []
    with seen_attention(model, lambda _, attended: seen.append(attended)):
        model(pixels)
    block = model.model.layer[0]
    flat = block.attention.q_proj(block.norm1(model.embeddings(pixels)))
    projected = flat.view(2, PATCHES + 5, 4, 8).transpose(1, 2)
    torch.testing.assert_close(seen[0].query[:, :, :5], projected[:, :, :5])  # no patches
    assert (seen[0].query - projected)[:, :, 5:].abs().amax() > 0.1


@torch.no_grad()
def test_only_this_model_in_this_thread_and_only_in_the_block(pixels):
    model, other, seen = make("vit"), make("deit"), []
    with seen_attention(model.layers[1], lambda _, attended: seen.append(attended)):
        other(pixels)
        thread = Thread(target=model, args=(pixels,))
        thread.start()
        thread.join()
        assert not seen
        model(pixels)
    assert len(seen) == 1
    model(pixels)
    assert len(seen) == 1
    assert "get_interface" not in vars(ALL_ATTENTION_FUNCTIONS)
    with pytest.raises(RuntimeError, match="mine"), seen_attention(model, ignore):
        raise RuntimeError("mine")
    assert "get_interface" not in vars(ALL_ATTENTION_FUNCTIONS)


@pytest.mark.parametrize("kind", ["none", "added", "boolean"])
def test_received_attention_of_shared_heads_under_a_mask(kind):
    torch.manual_seed(0)
    query, key = torch.randn(2, 6, 5, 8), torch.randn(2, 3, 7, 8)
    mask = {
        "none": None,
        "added": torch.randn(1, 6, 5, 7),
        "boolean": torch.rand(2, 1, 5, 7) > 0.3,
    }[kind]
    scores = query @ key.repeat_interleave(2, dim=1).transpose(-1, -2) / 3
    if kind == "added":
        scores = scores + mask
    if kind == "boolean":
        scores = scores.masked_fill(~mask, -torch.inf)
    expected = scores.softmax(-1).mean((1, 2))
    seen = Attended(query, key, key, 1 / 3, mask, query.transpose(1, 2))
    torch.testing.assert_close(attention_received(seen), expected)


def test_a_block_that_attends_by_itself_is_refused(pixels, monkeypatch):
    encoder = Encoder.of(make("vit"))
    monkeypatch.setattr(encoder.blocks[-1], "forward", lambda states, **_: states)
    with pytest.raises(UnsupportedModelError, match="attends 0 times"):
        encoder.observe(pixels)
