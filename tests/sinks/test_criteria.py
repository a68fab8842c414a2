"""Norm, massive activation and attention are separate observables."""

import torch

from diysink.sinks import (
    Threshold,
    attention_relative_to_even,
    has_massive_activation,
    relative_norms,
    token_norms,
)


def test_norms_by_hand():
    hidden = torch.tensor([[[3.0, 4.0], [0.0, 0.0], [-6.0, 8.0]]])
    assert torch.equal(token_norms(hidden), torch.tensor([[5.0, 0.0, 10.0]]))
    assert Threshold(5.0).mask(token_norms(hidden)).tolist() == [[True, False, True]]


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
    assert Threshold(100.0).mask(token_norms(hidden)).all()
    assert not has_massive_activation(hidden).any()


def test_even_attention_is_one():
    attention = torch.full((2, 9), 0.1)  # a class token has the tenth share
    torch.testing.assert_close(attention_relative_to_even(attention, 10), torch.ones(2, 9))


def test_a_relative_threshold_goes_by_each_image_s_median():
    norms = torch.tensor([[1.0, 2.0, 2.0, 6.0, 5.9], [100.0, 200.0, 300.0, 600.0, 599.0]])
    relative = Threshold(3.0, relative=True)
    assert relative.mask(norms).tolist() == [
        [False, False, False, True, False],
        [False] * 5,  # the median is 300
    ]
    assert torch.equal(relative.mask(norms * 1000), relative.mask(norms))
    assert Threshold(3.0).mask(norms).sum() == 7
    assert relative.times(0.5).mask(norms).sum() == 4
    assert str(relative) == "norms of at least 3 times the median norm of their image"


def test_separators_count_for_no_median_and_are_no_sinks():
    norms = torch.tensor([[torch.nan, 1.0, 1.0, 4.0, torch.nan]])
    assert relative_norms(norms)[0, 1:4].tolist() == [1.0, 1.0, 4.0]
    mask = Threshold(2.0, relative=True).mask(norms)
    assert mask.tolist() == [[False, False, False, True, False]]
    assert not Threshold(2.0, relative=True).mask(torch.full((1, 3), torch.nan)).any()


def test_without_tau_nothing_is_a_sink():
    assert not Threshold(None, relative=True).mask(torch.ones(2, 3)).any()
    assert Threshold(None).times(2.0) == Threshold(None)
