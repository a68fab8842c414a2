"""Connectors: tied parts are one MLP, each part sees its own tokens, sizes match."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diysink.connector import DualConnector, MatchedConnector, SingleConnector, build_connector


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_single_is_llavas_projector():
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

    config = LlavaConfig(
        vision_config=CLIPVisionConfig(hidden_size=6, num_attention_heads=1),
        text_config=LlamaConfig(hidden_size=8, num_attention_heads=1),
    )
    stock, ours = LlavaMultiModalProjector(config), SingleConnector(6, 8)
    ours.load_state_dict(stock.state_dict())
    x = torch.randn(2, 5, 6)
    assert torch.equal(stock(x), ours(x))


def test_tied_dual_is_single():
    single, dual = SingleConnector(6, 8), DualConnector(6, 8)
    dual.sink.load_state_dict(single.state_dict())
    dual.nonsink.load_state_dict(single.state_dict())
    x, sinks = torch.randn(3, 7, 6), torch.rand(3, 7) < 0.3
    torch.testing.assert_close(dual(x, sinks), single(x), atol=1e-6, rtol=1e-6)


def test_each_part_projects_and_learns_from_its_own_tokens_alone():
    dual = DualConnector(6, 8)
    x, sinks = torch.randn(2, 4, 6), torch.tensor([[1, 0, 0, 0], [0, 0, 1, 1]]).bool()
    y = dual(x, sinks)
    torch.testing.assert_close(y[sinks], dual.sink(x[sinks]))
    torch.testing.assert_close(y[~sinks], dual.nonsink(x[~sinks]))
    y[sinks].sum().backward()
    assert dual.sink.linear_1.weight.grad.abs().sum() > 0
    assert dual.nonsink.linear_1.weight.grad.abs().sum() == 0


@pytest.mark.parametrize("fill", [True, False])
def test_all_or_no_tokens_are_sinks(fill):
    dual, x = DualConnector(6, 8), torch.randn(2, 4, 6)
    part = dual.sink if fill else dual.nonsink
    torch.testing.assert_close(dual(x, torch.full((2, 4), fill)), part(x))


@given(st.integers(4, 2048), st.integers(4, 4096))
def test_matched_has_the_parameters_of_dual(in_dim, out_dim):
    with torch.device("meta"):
        matched, dual = MatchedConnector(in_dim, out_dim), DualConnector(in_dim, out_dim)
    # Rounding to a whole hidden unit is all that separates them.
    assert abs(parameters(matched) - parameters(dual)) <= (in_dim + out_dim + 1) / 2


def test_an_unknown_kind_names_the_known_ones():
    with pytest.raises(ValueError, match="unknown connector 'triple'; expected one of single"):
        build_connector("triple", 4, 4)
