"""What heads do at their sinks: planted heads, and parity with eager attention."""

import pytest
import torch

from diysink.analysis.function import head_function
from diysink.architectures.hooks import Layer, eager_attention, on_layer
from diysink.census import heads as module
from diysink.census.heads import heads_of, output_basis, stable_rank
from diysink.census.layer import Walk
from diysink.encoders import Encoder
from tests.census.layers import attended, look
from tests.encoders.towers import MAKERS, SIDE, make

TOKENS, SIZE = 12, 8


def values(seed=0, images=3):
    return torch.randn(images, TOKENS, SIZE, generator=torch.Generator().manual_seed(seed))


def test_a_head_that_attends_evenly_has_no_sink():
    found = look(None, values())
    torch.testing.assert_close(found.received, torch.full((3, 2, TOKENS), 1 / TOKENS))
    assert not found.event.any()
    assert found.rank.isnan().all()


def test_a_sink_without_a_value_is_a_nop():
    sink = torch.tensor([0, 5, 11])
    planted = values()
    planted[torch.arange(3), sink] *= 1e-3
    found = look(sink, planted)
    assert (found.sink == sink[:, None]).all()
    assert found.event.all()
    torch.testing.assert_close(found.top, torch.ones(3, 2), atol=1e-4, rtol=0)
    assert (found.ratio < 0.01).all()


def test_a_sink_with_a_value_is_broadcast():
    found = look(torch.tensor([4, 4, 4]), values())
    assert found.event.all()
    assert ((found.ratio > 0.3) & (found.ratio < 2)).all()
    torch.testing.assert_close(found.rank, torch.ones(3, 2), atol=1e-3, rtol=0)


def test_an_event_needs_nine_tenths_of_the_queries():
    seen = attended(torch.tensor([2]), values(images=1), heads=1)
    for others, event in ((1, True), (2, False)):  # of 12 queries
        seen.query[:, :, :others] = 0
        assert bool(heads_of(seen, None).event) is event


def test_heads_that_share_keys_and_values_are_told_apart():
    wide = attended(torch.tensor([3]), values(images=1), heads=4)
    shared = type(wide)(
        wide.query, wide.key[:, :2], wide.value[:, :2], wide.scaling, None, wide.output
    )
    basis = torch.eye(SIZE).repeat(4, 1, 1)
    for one, other in zip(
        vars(heads_of(wide, basis)).values(), vars(heads_of(shared, basis)).values(), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("boolean", [True, False])
def test_a_bias_moves_attention(boolean):
    seen = attended(torch.tensor([2, 2, 2]), values())
    allowed = torch.ones(1, 1, TOKENS, TOKENS, dtype=torch.bool)
    allowed[..., 2] = False
    mask = allowed if boolean else torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)
    masked = type(seen)(seen.query, seen.key, seen.value, 1.0, mask, seen.output)
    found = heads_of(masked, None)
    assert (found.received[..., 2] == 0).all()
    torch.testing.assert_close(found.received[..., 0], torch.full((3, 2), 1 / (TOKENS - 1)))


def test_a_few_heads_at_a_time_are_all_heads(monkeypatch):
    whole = look(torch.tensor([1, 2, 3]), values())
    monkeypatch.setattr(module, "BUDGET", TOKENS**2)
    assert torch.equal(whole.received, look(torch.tensor([1, 2, 3]), values()).received)


def test_stable_rank_is_that_of_the_singular_values():
    matrices = values(images=5)
    singular = torch.linalg.svdvals(matrices)
    expected = singular.square().sum(-1) / singular[:, 0].square()
    torch.testing.assert_close(stable_rank(matrices), expected, rtol=0.02, atol=0)
    torch.testing.assert_close(stable_rank(torch.eye(4)[None]), torch.tensor([4.0]))


def test_the_basis_keeps_lengths_and_angles():
    model = make("dinov2")
    block = model.base_model.encoder.layer[0]
    heads = model.config.num_attention_heads
    basis = output_basis(block, block.attention, heads)
    size = block.attention.o_proj.weight.shape[1] // heads
    weights = block.attention.o_proj.weight.detach() * block.layer_scale1.lambda1.detach()[:, None]
    vectors = values()[0, :, :size]
    true = vectors @ weights[:, size : 2 * size].T
    seen = vectors @ basis[1]
    torch.testing.assert_close(seen @ seen.T, true @ true.T, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", MAKERS)
def test_every_family_is_seen_as_eager_attention_shows_it(family):
    pixels = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    model = make(family)
    encoder = Encoder.of(model, -1).eval()
    shown: list[Layer] = []
    with (
        torch.no_grad(),
        eager_attention(model),
        on_layer(encoder.blocks, encoder._parts.attention, shown.append),
    ):
        encoder(pixels)
    contrast = torch.ones(2, encoder.grid(pixels)[0] * encoder.grid(pixels)[1])
    with torch.no_grad():
        layers = list(Walk(encoder)(pixels, contrast, ["a", "b"]))
    assert [one.number for one in layers] == list(range(len(shown) + 1))
    assert layers[0].heads is None
    with torch.no_grad():
        torch.testing.assert_close(layers[-1].patches, encoder(pixels), atol=0, rtol=0)
    for block, one in zip(shown, layers[1:], strict=True):
        true = torch.ones(2, one.hidden.shape[1], dtype=torch.bool)
        expected = head_function(block, true, False, ~true)
        received = block.attention.mean(2)
        torch.testing.assert_close(one.heads.received, received, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(one.heads.ratio, expected["ratio"], rtol=1e-3, atol=0)
        assert torch.equal(one.heads.event, expected["event"])
