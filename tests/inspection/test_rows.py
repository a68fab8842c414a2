"""Rows of attention from what sdpa is given are those of eager attention, in every family."""

from functools import cache

import pytest
import torch

from diysink.architectures import UnsupportedModelError, decoder_layers, seen_attention
from diysink.architectures.hooks import attention_implementation
from diysink.inspection import rows as module
from diysink.inspection.rows import attention_rows
from tests.analysis.test_stock import UNSEEN, Fixed
from tests.interventions.tiny_lvlms import BUILDERS, build

built = cache(build)


@pytest.mark.parametrize("name", [name for name in BUILDERS if name not in UNSEEN])
def test_rows_are_those_of_eager_attention(name, monkeypatch):
    monkeypatch.setattr(module, "BUDGET", 64)  # a query at a time
    tiny = built(name)
    inputs = Fixed(tiny).inputs([], [])
    inner = tiny.model.base_model
    decoder = inner.get_decoder()
    length = inputs["input_ids"].shape[1]
    queries, seen = torch.arange(length - 3, length), []
    layers = torch.nn.ModuleList(decoder_layers(decoder))
    with (
        torch.no_grad(),
        seen_attention(layers, lambda layer, one: seen.append(attention_rows(layer, one, queries))),
    ):
        inner(**inputs, use_cache=False)
    configs = (decoder.config, inner.config.get_text_config())
    with torch.no_grad(), attention_implementation(configs, "eager"):
        eager = inner(**inputs, use_cache=False, output_attentions=True).attentions
    assert len(seen) == len(eager) == len(layers)
    for rows, weights in zip(seen, eager, strict=True):
        own = weights[0, :, -3:].mean(0)
        torch.testing.assert_close(rows.weights, own, atol=1e-5, rtol=1e-5)
        even = rows.visible.reciprocal()
        assert ((rows.weights > 0).sum(1) <= rows.visible).all()
        assert torch.allclose((rows.over_even * even[:, None]).sum(1), torch.ones(3), atol=1e-5)


def test_what_is_no_softmax_of_the_scores_is_refused():
    tiny = built("llava")
    inputs = Fixed(tiny).inputs([], [])
    inner = tiny.model.base_model
    layers = torch.nn.ModuleList(decoder_layers(inner.get_decoder()))

    def look(layer, one):
        attention_rows(layer, type(one)(**(vars(one) | {"output": 3 * one.output + 1})), queries)

    queries = torch.tensor([5])
    with (
        torch.no_grad(),
        seen_attention(layers, look),
        pytest.raises(UnsupportedModelError, match="more than a softmax"),
    ):
        inner(**inputs, use_cache=False)
