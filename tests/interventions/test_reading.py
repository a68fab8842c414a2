"""States, norms and identity of a model's own vision encoder."""

from copy import deepcopy

import pytest
import torch

from diysink.architectures import EncodedImage
from diysink.encoders import Encoder
from diysink.interventions import encoder_identity, visual_norms, visual_states
from diysink.interventions.reading import Seen
from diysink.sinks import token_norms


def test_states_are_those_of_the_encoder_alone(llava):
    encoder = Encoder.of(llava.model.model.vision_tower, -2)
    with torch.no_grad():
        alone = encoder(llava.inputs["pixel_values"])
    states = visual_states(llava.model, **llava.inputs)
    assert torch.equal(torch.stack(states), alone)
    norms = visual_norms(llava.model, **llava.inputs)
    torch.testing.assert_close(torch.stack(norms), token_norms(alone))


def test_norms_are_float32_of_whatever_dtype(llava):
    half = deepcopy(llava.model).to(torch.bfloat16)
    pixels = llava.inputs["pixel_values"].to(torch.bfloat16)
    (state, *_), (norms, *_) = (
        visual_states(half, pixel_values=pixels),
        visual_norms(half, pixel_values=pixels),
    )
    assert state.dtype == torch.bfloat16
    assert norms.dtype == torch.float32
    assert torch.equal(norms, state.float().norm(dim=-1))


def test_identity_is_that_of_the_encoder_alone(llava):
    encoder = Encoder.of(llava.model.model.vision_tower, -2)
    mine = encoder_identity(llava.model)
    assert (mine.digest, mine.layer, mine.family) == (
        encoder.identity.digest,
        encoder.layer,
        encoder.family,
    )


def test_a_key_is_of_the_picture_and_not_of_its_padding():
    pixels = torch.randn(3, 4, 6)
    padded = torch.zeros(3, 8, 8)
    padded[:, :4, :6] = pixels
    other = pixels.clone()
    other[2, 3, 5] += 1

    def key(pixels):
        return Seen.of(
            EncodedImage(torch.ones(1, 2), torch.zeros(1, 1, dtype=torch.long), pixels)
        ).key

    assert key(pixels) == key(padded) != key(other)


@pytest.mark.parametrize("depth", [0, -1])
def test_identity_is_of_the_weights_up_to_the_layer(tiny, depth):
    """A weight before the layer makes another encoder; in LLaVA, the last block is after it."""
    other = deepcopy(tiny.model)
    tower = next(
        getattr(other.model, name)
        for name in ("vision_tower", "vision_model", "visual")
        if hasattr(other.model, name)
    )
    weights = next(
        found
        for end in ("fc1", "o_proj", "attn.proj", "down_proj", "down_proj.linear")
        if (found := [w for path, w in tower.named_parameters() if path.endswith(f"{end}.weight")])
    )
    with torch.no_grad():
        weights[depth][0, 0] += 1
    same = encoder_identity(other) == encoder_identity(tiny.model)
    assert same == (depth == -1 and tiny.name in ("llava", "llava_next", "vipllava"))
    assert encoder_identity(tiny.model).digest == encoder_identity(deepcopy(tiny.model)).digest
