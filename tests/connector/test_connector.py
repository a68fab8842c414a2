"""The MLPs: tied parts are one, each part sees its own tokens, sizes match; all keep the mask."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diysink.connector import (
    CONNECTORS,
    Arrangement,
    Connector,
    DualConnector,
    ParameterMatchedConnector,
    SingleConnector,
    build_connector,
    connector_options,
)


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
    x, sinks = torch.randn(2, 5, 6), torch.rand(2, 5) < 0.5
    projected, which = ours(x, sinks)
    assert torch.equal(stock(x), projected)
    assert torch.equal(which, sinks)


def test_the_activation_is_the_configurations():
    x, none = torch.randn(1, 3, 6), torch.zeros(1, 3, dtype=torch.bool)
    plain = SingleConnector(6, 8, activation="relu")
    expected = plain.linear_2(plain.linear_1(x).relu())
    assert torch.equal(plain(x, none)[0], expected)


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_tied_dual_is_single_to_the_bit(share):
    # Widths at which the product over the sinks' rows alone differs in its last bits.
    torch.manual_seed(0)
    single, dual = SingleConnector(96, 128), DualConnector(96, 128)
    dual.sink.load_state_dict(single.state_dict())
    dual.nonsink.load_state_dict(single.state_dict())
    x, sinks = torch.randn(8, 64, 96), torch.rand(8, 64) < share
    projected, which = dual(x, sinks)
    assert torch.equal(projected, single(x, sinks)[0])
    assert torch.equal(which, sinks)


def test_each_part_projects_and_learns_from_its_own_tokens_alone():
    dual = DualConnector(6, 8)
    x, sinks = torch.randn(2, 4, 6), torch.tensor([[1, 0, 0, 0], [0, 0, 1, 1]]).bool()
    y, _ = dual(x, sinks)
    torch.testing.assert_close(y[sinks], dual.sink(x[sinks], sinks[sinks])[0])
    torch.testing.assert_close(y[~sinks], dual.nonsink(x[~sinks], sinks[~sinks])[0])
    y[sinks].sum().backward()
    assert dual.sink.linear_1.weight.grad.abs().sum() > 0
    assert dual.nonsink.linear_1.weight.grad.abs().sum() == 0


@pytest.mark.parametrize("fill", [True, False])
def test_all_or_no_tokens_are_sinks(fill):
    dual, x, sinks = DualConnector(6, 8), torch.randn(2, 4, 6), torch.full((2, 4), fill)
    part = dual.sink if fill else dual.nonsink
    torch.testing.assert_close(dual(x, sinks)[0], part(x, sinks)[0])


@given(st.integers(4, 2048), st.integers(4, 4096))
def test_matched_has_the_parameters_of_dual(in_dim, out_dim):
    with torch.device("meta"):
        matched, dual = ParameterMatchedConnector(in_dim, out_dim), DualConnector(in_dim, out_dim)
    # Rounding to a whole hidden unit is all that separates them.
    assert abs(parameters(matched) - parameters(dual)) <= (in_dim + out_dim + 1) / 2


@pytest.mark.parametrize("kind", CONNECTORS)
def test_every_kind_keeps_the_protocol(kind):
    options = {n: 2 for n, default in connector_options(kind).items() if type(default) is int}
    connector = build_connector(kind, 6, 8, bias=False, activation="relu", options=options)
    assert isinstance(connector, Connector)
    x, sinks = torch.randn(2, 7, 6), torch.rand(2, 7) < 0.4
    tokens, which = connector(x, sinks)
    assert tokens.shape == (2, connector.tokens_out(7), 8)
    assert which.shape == tokens.shape[:2]
    assert which.dtype == torch.bool
    assert connector.two_parts == {"sink", "nonsink"}.issubset(dict(connector.named_children()))
    assert connector.arrangement in get_args(Arrangement)
    assert not any(name.endswith("linear_1.bias") for name, _ in connector.named_parameters())


def test_an_unknown_kind_names_the_known_ones():
    with pytest.raises(ValueError, match="unknown connector 'triple'; expected one of single"):
        build_connector("triple", 4, 4)


def test_options_are_the_connectors_own():
    wide = build_connector("dual", 6, 8, options={"hidden_dim": 3})
    assert wide.nonsink.linear_1.weight.shape == (3, 6)
    few = build_connector("dual-resampler", 6, 8, options={"queries": 3, "heads": 2})
    assert few.tokens_out(99) == 3 + connector_options("dual-resampler")["sink_queries"]
    with pytest.raises(ValueError, match=r"'resampler' has no option sink_queries; it has q"):
        build_connector("resampler", 6, 8, options={"sink_queries": 2})
