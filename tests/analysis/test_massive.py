"""Massive dimensions: planted ones are found at any width, and none in states of no kind."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diysink.analysis.massive import MassiveRule, first_positions, ratios


def states(width, planted=(), size=0.0, tokens=40):
    made = torch.randn(tokens, width, generator=torch.Generator().manual_seed(width))
    for dimension in planted:
        made[:, dimension] = size
    return made


def test_ratios_by_hand():
    # RMS of (3, 4, 0, 0) is 2.5; a state of zeros has no direction at all.
    got = ratios(torch.tensor([[3.0, -4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    torch.testing.assert_close(got, torch.tensor([[1.2, 1.6, 0, 0], [0, 0, 0, 0]]))
    half = ratios(torch.full((1, 8), 3e4, dtype=torch.float16))  # its square is past fp16
    torch.testing.assert_close(half, torch.ones(1, 8))


def test_the_paper_s_threshold_at_the_paper_s_width():
    assert MassiveRule().threshold(4096) == 20.0
    assert MassiveRule().threshold(1024) == 10.0


@pytest.mark.parametrize("width", [16, 128, 1024])
def test_planted_dimensions_are_found_and_no_others(width):
    """Two dimensions that hold most of the energy; then the same states without them."""
    planted = states(width, (3, 11), size=3 * width**0.5)
    rule = MassiveRule()
    assert rule.massive(ratios(planted).mean(0)).nonzero()[:, 0].tolist() == [3, 11]
    assert not rule.massive(ratios(states(width)).mean(0)).any()


@given(st.integers(0, 10_000), st.sampled_from([64, 128, 512]))
def test_one_random_state_has_none(seed, width):
    """The first token is one state, not a mean of many: chance must not make its dimensions."""
    one = torch.randn(1, width, generator=torch.Generator().manual_seed(seed))
    assert not MassiveRule().massive(ratios(one).mean(0)).any()


def test_a_few_loud_dimensions_are_not_massive_where_all_are_loud():
    """Over the threshold, but not over the others: what flags most tokens in many models."""
    loud = torch.zeros(1, 64)
    loud[0, :3] = 1.0  # three dimensions share the energy and the median is zero
    assert MassiveRule().massive(ratios(loud)[0]).sum() == 3
    assert (torch.linspace(1.0, 3.0, 64) >= MassiveRule(ratio=1.0).threshold(64)).all()
    assert not MassiveRule(ratio=1.0).massive(torch.linspace(1.0, 3.0, 64)).any()


def test_sink_dimensions_are_read_at_the_first_token():
    batch = torch.randn(2, 5, 128, generator=torch.Generator().manual_seed(0))
    batch[0, 2, 7] = batch[1, 0, 7] = 100.0  # the first true tokens: left padding of two
    batch[:, 4, 9] = 100.0  # massive, but not at the first token
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    first, text = first_positions(mask, torch.zeros(2, 5, dtype=torch.bool))
    assert first.tolist() == [2, 0]
    assert text.all()
    rule = MassiveRule()
    found = rule.sink_dimensions(batch, first, text)
    assert found.tolist() == [7]
    lit = rule.massive_tokens(batch, found)
    assert lit.nonzero().tolist() == [[0, 2], [1, 0]]
    assert not rule.massive_tokens(batch, rule.sink_dimensions(batch, first + 1, text)).any()
    known = MassiveRule(dimensions=(9,))
    assert known.massive_tokens(
        batch, known.sink_dimensions(batch, first, text)
    ).nonzero().tolist() == [
        [0, 4],
        [1, 4],
    ]


def test_an_image_that_comes_first_is_no_sink_of_the_language_model_s_own():
    batch = torch.randn(2, 3, 128, generator=torch.Generator().manual_seed(0))
    batch[:, 0, 7] = 100.0
    mask, visual = torch.ones(2, 3, dtype=torch.long), torch.zeros(2, 3, dtype=torch.bool)
    visual[:, 0] = True
    first, text = first_positions(mask, visual)
    assert not text.any()
    assert not len(MassiveRule().sink_dimensions(batch, first, text))


def test_dimensions_of_another_model_are_refused():
    rule = MassiveRule(dimensions=(1415, 2533))
    with pytest.raises(ValueError, match="those of another model"):
        rule.sink_dimensions(torch.zeros(1, 2, 128), torch.tensor([0]), torch.tensor([True]))
