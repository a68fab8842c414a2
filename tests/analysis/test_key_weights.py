"""Weights on sinks, at the connector and at the keys: what they do to the attention to sinks."""

import numpy as np
import pandas as pd
import pytest
import torch

from diysink.analysis import attention_by_weight, visual_attention, weighted_attention
from diysink.analysis.attention import answer_attention, answered
from diysink.selection import Choice
from diysink.sinks import token_norms
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


def test_weight_one_is_the_plain_model_in_both_places(generator, questions):
    table = weighted_attention(generator, questions, (1.0,))
    plain = visual_attention(generator, questions)
    expected = (plain.attention * plain.sinks).sum(1).numpy()
    for place in ("connector", "keys"):
        rows = table[table["place"] == place]
        assert rows["id"].tolist() == ["1", "2", "3"]
        np.testing.assert_array_equal(rows["sinks"], expected)


def test_in_the_first_layer_a_norm_undoes_weights_at_the_connector_but_not_at_keys(
    generator, questions
):
    config = generator.model.model.language_model.config
    layers, config.num_hidden_layers = config.num_hidden_layers, 1
    try:
        table = weighted_attention(generator, questions, (0.5, 1.0, 2.0))
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
        table = weighted_attention(generator, questions, (3.0,), layers)
        return table.loc[table["place"] == "keys", "sinks"]

    assert np.array_equal(at_keys(None), at_keys((0, 1)))
    assert not np.allclose(at_keys(None), at_keys((0,)))


def test_images_without_sinks_have_no_rows(generator, questions):
    config, tau = generator.model.config, generator.model.config.tau
    norms = token_norms(generator.model.model.visual_states(questions.pixel_values).detach())
    first, second = (float(norms[i].max()) for i in (0, 1))
    try:
        config.tau = (first + second) / 2
        kept = weighted_attention(generator, questions, (1.0,))["id"].unique().tolist()
        assert kept == (["1", "3"] if first > second else ["2"])
        config.tau = 1e9
        nothing = weighted_attention(generator, questions, (1.0,))
        assert nothing.empty
        assert attention_by_weight(nothing).empty
    finally:
        config.tau = tau


def test_a_choice_that_drops_tokens_has_no_attention_to_all_of_them(generator, questions):
    with pytest.raises(ValueError, match="drop visual tokens"):
        answer_attention(
            generator.model, answered(generator, questions), Choice.of(["both", "sink", "both"])
        )


def rows(place, weight, shares):
    return pd.DataFrame(
        {"image": [f"i{n // 2}" for n in range(len(shares))], "place": place, "weight": weight,
         "sinks": shares}
    )  # fmt: skip


def test_shares_and_ratios_by_hand():
    table = attention_by_weight(
        pd.concat(
            [
                rows("keys", 1.0, [0.1, 0.3, 0.2, 0.2]),
                rows("keys", 2.0, [0.2, 0.6, 0.4, 0.4]),
                rows("connector", 1.0, [0.1, 0.3, 0.2, 0.2]),
            ],
            ignore_index=True,
        ),
        resamples=50,
    )
    assert table["place"].tolist() == ["keys", "keys", "connector"]
    np.testing.assert_allclose(table["share"], [0.2, 0.4, 0.2])
    # Every image's share doubles, so every resample's does: the pairing is kept.
    np.testing.assert_allclose(table.loc[1, ["ratio", "ratio_low", "ratio_high"]].tolist(), 2.0)
    assert (table["low"] <= table["share"] + 1e-12).all()
    assert (table["n_images"] == 2).all()


def test_weight_one_is_needed():
    with pytest.raises(ValueError, match="measure weight 1"):
        attention_by_weight(rows("keys", 2.0, [0.1, 0.2]))
