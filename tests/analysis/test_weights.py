"""Weights on sinks, at the connector and at the keys: what they do to the attention to sinks."""

import numpy as np
import pandas as pd
import pytest
import torch

from diysink.analysis import Context
from diysink.analysis.attention import Attention, AttentionSettings
from diysink.analysis.table import select
from diysink.analysis.weights import Weights, WeightsSettings, weighted_attention
from diysink.resampling import Bootstrap
from diysink.selection import Choice
from diysink.sinks import token_norms
from tests.analysis.batches import batch_of, measured
from tests.tiny_models import tiny_generator, tiny_questions


@pytest.fixture(scope="module")
def generator(parts):
    """A random model; of its visual tokens about a third count as sinks."""
    made = tiny_generator(parts, sinks=0.35, max_new_tokens=3)
    torch.manual_seed(0)
    for layer in made.model.model.language_model.layers:  # attention that depends on what it sees
        torch.nn.init.normal_(layer.self_attn.q_proj.weight)
        torch.nn.init.normal_(layer.self_attn.k_proj.weight)
    for parameter in made.model.model.multi_modal_projector.parameters():
        torch.nn.init.normal_(parameter)  # large beside the epsilon of a norm
    return made


@pytest.fixture(scope="module")
def questions():
    return tiny_questions(("a b c d", "e", "f g"), ("x", "y", "x"))


def weights(*values, layers=None):
    return Weights(WeightsSettings(weights=values, layers=layers), Context(Bootstrap(50)))


def weighed(generator, questions, *values, layers=None):
    return measured(weights(*values, layers=layers), generator, questions, max_new_tokens=3)


def test_weight_one_is_the_plain_model_in_both_places(generator, questions):
    table = weighed(generator, questions, 1.0)
    plain = measured(Attention(AttentionSettings(), Context()), generator, questions,
                     max_new_tokens=3)  # fmt: skip
    expected = plain["attention"].where(plain["sink"], 0).groupby(plain["id"]).sum()
    for place in ("connector", "keys"):
        rows = select(table, place=place)
        assert rows["id"].tolist() == ["1", "2", "3"]
        np.testing.assert_allclose(rows["sinks"], expected, rtol=1e-6)


def test_in_the_first_layer_a_norm_undoes_weights_at_the_connector_but_not_at_keys(
    generator, questions
):
    config = generator.model.model.language_model.config
    layers, config.num_hidden_layers = config.num_hidden_layers, 1
    try:
        table = weighed(generator, questions, 0.5, 1.0, 2.0)
    finally:
        config.num_hidden_layers = layers
    shares = table.pivot(index=["place", "id"], columns="weight", values="sinks")
    connector, keys = shares.loc["connector"], shares.loc["keys"]
    assert np.allclose(connector[2.0], connector[1.0], rtol=1e-3)
    assert np.allclose(connector[0.5], connector[1.0], rtol=1e-3)
    assert not np.allclose(keys[2.0], keys[1.0], rtol=0.05)
    assert not np.allclose(keys[0.5], keys[1.0], rtol=0.05)


def test_only_the_named_layers_are_weighed(generator, questions):
    def at_keys(layers):
        table = weighed(generator, questions, 1.0, 3.0, layers=layers)
        return select(table, place="keys", weight=3.0)["sinks"]

    assert np.array_equal(at_keys(None), at_keys((0, 1)))
    assert not np.allclose(at_keys(None), at_keys((0,)))


def test_images_without_sinks_have_no_rows(generator, questions):
    config, tau = generator.model.config, generator.model.config.tau
    norms = token_norms(generator.model.model.visual_states(questions.pixel_values).detach())
    first, second = (float(norms[i].max()) for i in (0, 1))
    try:
        config.tau = (first + second) / 2
        kept = weighed(generator, questions, 1.0)["id"].unique().tolist()
        assert kept == (["1", "3"] if first > second else ["2"])
        config.tau = 1e9
        nothing = weighed(generator, questions, 1.0)
        assert nothing.empty
        assert weights(1.0).summarize(nothing).empty
    finally:
        config.tau = tau


def test_a_choice_that_drops_tokens_has_no_attention_to_all_of_them(generator, questions):
    batch = batch_of(generator, questions, max_new_tokens=3)
    with pytest.raises(ValueError, match="drop visual tokens"):
        weighted_attention(batch, Choice.of(["both", "sink", "both"]))


def rows(place, weight, shares):
    return pd.DataFrame(
        {"image": [f"i{n // 2}" for n in range(len(shares))], "place": place, "weight": weight,
         "sinks": shares}
    )  # fmt: skip


def test_shares_and_ratios_by_hand():
    table = weights(1.0).summarize(
        pd.concat(
            [
                rows("keys", 1.0, [0.1, 0.3, 0.2, 0.2]),
                rows("keys", 2.0, [0.2, 0.6, 0.4, 0.4]),
                rows("connector", 1.0, [0.1, 0.3, 0.2, 0.2]),
                rows("connector", 2.0, [0.1, 0.3, 0.2, 0.2]),
            ],
            ignore_index=True,
        )
    )
    share = select(table, metric="attention share").set_index(["condition", "weight"])
    np.testing.assert_allclose(share["value"], [0.2, 0.4, 0.2, 0.2])
    # Every image's share doubles, so every resample's does: the pairing is kept.
    ratio = select(table, metric="attention ratio", condition="keys", weight=2.0).iloc[0]
    np.testing.assert_allclose(ratio[["value", "low", "high"]].tolist(), 2.0)
    assert (share["low"] <= share["value"] + 1e-12).all()
    assert (table["n_images"] == 2).all()
    (drawn,) = Weights.figures(table, 0.95)
    assert "by 2.00 [2.00, 2.00] at the keys" in drawn.title


def test_weight_one_is_needed():
    with pytest.raises(ValueError, match="1 must be among them"):
        WeightsSettings(weights=(2.0,))
