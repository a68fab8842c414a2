"""Resamplers: each query reads its own set alone; what has nothing to read is defined."""

import pytest
import torch

from diysink.connector import DualResamplerConnector, ResamplerConnector, build_connector

SINKS = torch.tensor([[1, 0, 0, 1, 0], [0, 0, 1, 0, 0]]).bool()


@pytest.fixture
def dual():
    torch.manual_seed(0)
    return DualResamplerConnector(6, 8, sink_queries=2, queries=3, heads=2)


@pytest.fixture
def x():
    torch.manual_seed(1)
    return torch.randn(2, 5, 6)


def test_the_first_tokens_stand_for_sinks_and_the_number_is_fixed(dual, x):
    tokens, which = dual(x, SINKS)
    assert tokens.shape == (2, 5, 8)
    assert dual.tokens_out(5) == dual.tokens_out(1000) == 5
    assert which.tolist() == [[True, True, False, False, False]] * 2


def test_a_query_reads_its_own_set_alone(dual, x):
    tokens, which = dual(x, SINKS)
    for changed, same in ((SINKS, ~which), (~SINKS, which)):
        other = torch.where(changed.unsqueeze(-1), x + torch.randn(2, 5, 6), x)
        again, _ = dual(other, SINKS)
        assert torch.equal(again[same], tokens[same])
        assert (again[~same] != tokens[~same]).any(-1).all()


def test_each_part_learns_from_its_own_tokens_alone(dual, x):
    tokens, which = dual(x, SINKS)
    tokens[which].sum().backward()
    assert dual.sink.value.weight.grad.abs().sum() > 0
    assert dual.nonsink.value.weight.grad.abs().sum() == 0


@pytest.mark.parametrize("fill", [True, False])
def test_queries_without_anything_to_read_read_the_whole_image(dual, x, fill):
    sinks = SINKS.clone()
    sinks[0] = fill
    tokens, which = dual(x, sinks)
    lacking = dual.nonsink if fill else dual.sink
    whole = lacking(x, torch.ones_like(sinks))
    part = ~which if fill else which
    assert torch.equal(tokens[0, part[0]], whole[0])
    assert not torch.equal(tokens[1, part[1]], whole[1])


def test_a_reader_is_attention_worked_out_by_hand(dual, x):
    part, seen = dual.sink, SINKS
    read = part.norm_token(x[0])
    asked = part.query(part.norm_query(part.queries.weight))
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = asked[:, head] @ part.key(read)[:, head].T / 2.0
        weights = scores.masked_fill(~seen[0], -torch.inf).softmax(-1)
        heads.append(weights @ part.value(read)[:, head])
    expected = part.out(part.norm_read(part.queries.weight + torch.cat(heads, -1)))
    torch.testing.assert_close(part(x, seen)[0], expected, atol=1e-6, rtol=1e-5)


def test_a_sinks_norm_does_not_decide_how_much_it_is_read(dual, x):
    """Only the token's direction counts: a norm a hundred times as large reads the same."""
    louder = torch.where(SINKS.unsqueeze(-1), x * 100, x)
    torch.testing.assert_close(dual(louder, SINKS)[0], dual(x, SINKS)[0], atol=1e-3, rtol=1e-3)


def test_the_plain_resampler_has_as_many_tokens_and_knows_no_sinks(x):
    plain = build_connector("resampler", 6, 8, options={"queries": 5, "heads": 2})
    assert isinstance(plain, ResamplerConnector)
    tokens, which = plain(x, SINKS)
    assert tokens.shape == (2, 5, 8)
    assert not which.any()
    assert torch.equal(plain(x, ~SINKS)[0], tokens)


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="3 attention heads do not divide"):
        ResamplerConnector(6, 8, queries=2, heads=3)
    with pytest.raises(ValueError, match="with 0 queries reads nothing"):
        DualResamplerConnector(6, 8, sink_queries=0, queries=2, heads=2)
