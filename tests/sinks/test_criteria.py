"""Norm, massive activation and attention are separate observables."""

import torch

from diysink.sinks import (
    above_norm,
    attention_relative_to_even,
    has_massive_activation,
    token_norms,
)


def test_norms_by_hand():
    hidden = torch.tensor([[[3.0, 4.0], [0.0, 0.0], [-6.0, 8.0]]])
    assert torch.equal(token_norms(hidden), torch.tensor([[5.0, 0.0, 10.0]]))
    assert above_norm(hidden, 5.0).tolist() == [[True, False, True]]


def test_norms_are_accumulated_in_float32():
    hidden = torch.full((1, 1, 4096), 1.0, dtype=torch.bfloat16)
    hidden[..., 0] = 100.0  # adding ones to 10,000 in bfloat16 would lose them all
    norms = token_norms(hidden)
    assert norms.dtype == torch.float32
    torch.testing.assert_close(norms, torch.tensor([[(10_000 + 4095) ** 0.5]]))


def test_massive_needs_both_a_value_and_a_ratio():
    hidden = torch.full((3, 4, 8), 0.05)
    hidden[0, 1, 2] = -150.0  # large, and 3000 times the median
    hidden[1, 1, 2] = 90.0  # 1800 times the median, but below 100
    hidden[2] = 1.0
    hidden[2, 1, 2] = 150.0  # large, but 150 times the median
    expected = torch.zeros(3, 4, dtype=torch.bool)
    expected[0, 1] = True
    assert torch.equal(has_massive_activation(hidden), expected)


def test_a_large_norm_alone_is_not_massive():
    hidden = torch.full((1, 4, 8), 100.0)
    assert above_norm(hidden, 100.0).all()
    assert not has_massive_activation(hidden).any()


def test_even_attention_is_one():
    attention = torch.full((2, 9), 0.1)  # a class token has the tenth share
    torch.testing.assert_close(attention_relative_to_even(attention, 10), torch.ones(2, 9))
