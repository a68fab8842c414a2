"""Attention by layer, head and kind: what was planted is found, and not after shuffling."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from diysink.analysis.attention import visual_attention
from diysink.analysis.attention_by_layer import attention_by_layer, layer_attention
from diysink.analysis.controls import drawn_orders
from diysink.analysis.massive import MassiveRule
from diysink.selection import QuestionBatch
from tests.tiny_models import tiny_generator, tiny_questions

TOKENS, HEADS = 9, 2
RULE = MassiveRule(ratio=48.0)  # at a width of 16 three of at most four, far from chance


@pytest.fixture(scope="module")
def generator(parts):
    """A random model of which about a third of the visual tokens count as sinks."""
    return tiny_generator(parts, sinks=0.35, max_new_tokens=3)


@pytest.fixture(scope="module")
def questions():
    return tiny_questions(("a b c d", "e", "f g"), ("x", "y", "x"))


def true(table):
    return table[table["mask"] == "true"]


def test_summed_over_kinds_and_averaged_it_is_the_plain_measurement(generator, questions):
    seen = visual_attention(generator, questions)
    table = layer_attention(generator, questions, RULE)
    assert table["layer"].nunique() == 2
    assert table["head"].nunique() == HEADS
    for name, mask in (("vsink", seen.sinks), ("nonsink", ~seen.sinks)):
        rows = true(table)[lambda t, name=name: t["kind"] == name]
        means = rows.groupby("id")["attention"].mean()
        expected = (seen.attention * mask).sum(1)
        np.testing.assert_allclose(means[["1", "2", "3"]], expected, rtol=1e-4)
        tokens = rows.groupby("id")["tokens"].first()[["1", "2", "3"]]
        assert tokens.tolist() == mask.sum(1).tolist()
    # Random states have no massive dimension: no token is lit.
    assert not table.loc[table["kind"] == "lsink", "tokens"].any()


@pytest.mark.parametrize("parts", [("clip", "llama"), ("siglip", "phi")], indirect=True)
def test_a_planted_dimension_makes_l_sinks_where_it_is_planted(generator, questions, monkeypatch):
    """The second layer is shown massive at the first token, at a sink and at another patch."""
    vsinks = visual_attention(generator, questions).sinks
    sink, other = vsinks.int().argmax(1), (~vsinks).int().argmax(1)
    module = sys.modules[layer_attention.__module__]
    real_places, real_read, found = module.patch_places, module.read_language, []

    def places(spliced, tokens):
        found.append(real_places(spliced, tokens))
        return found[-1]

    def read(language_model, look, embeds, mask):
        def planted(layer):
            states = layer.states.clone()
            if layer.number == 1:
                for item, first in enumerate(mask.argmax(1)):
                    at = [first, *found[-1][item, [sink[item], other[item]]]]
                    states[item, at, 5] = 1e3
            look(replace(layer, states=states))

        real_read(language_model, planted, embeds, mask)

    monkeypatch.setattr(module, "patch_places", places)
    monkeypatch.setattr(module, "read_language", read)
    table = layer_attention(generator, questions, RULE)
    lit = table[(table["kind"] == "lsink") & (table["head"] == 0)]
    by_layer = true(lit).groupby("layer")["tokens"].apply(list)
    assert by_layer[0] == [0, 0, 0]
    assert by_layer[1] == [1, 1, 1]  # the sink stays a V-sink
    seen = table[(table["layer"] == 1) & (table["head"] == 0)]
    whole = true(seen).groupby("id")["attention"].sum()
    shuffled = seen[seen["mask"] == "shuffled"].groupby("id")["attention"].sum()
    np.testing.assert_allclose(shuffled, whole, rtol=1e-5)


def test_the_control_shuffles_which_token_is_which(generator, questions):
    table = layer_attention(generator, questions, RULE)
    sinks = table[(table["kind"] == "vsink") & (table["tokens"] > 0)]
    by_mask = {mask: part["attention"].to_numpy() for mask, part in sinks.groupby("mask")}
    counts = {mask: part["tokens"].tolist() for mask, part in sinks.groupby("mask")}
    assert counts["true"] == counts["shuffled"]
    assert not np.allclose(by_mask["true"], by_mask["shuffled"])


def test_the_control_depends_on_the_image_and_not_on_the_batch(generator, questions):
    table = layer_attention(generator, questions, RULE)
    one = QuestionBatch(questions.texts[2:], ("3",), (None,), ("x",), questions.pixel_values[2:])
    alone = layer_attention(generator, one, RULE)
    together = table[table["id"] == "3"].reset_index(drop=True)
    np.testing.assert_allclose(alone["attention"], together["attention"], atol=1e-6)
    assert not np.array_equal(
        drawn_orders(["x"], TOKENS, 0).numpy(), drawn_orders(["x"], TOKENS, 1).numpy()
    )
    assert drawn_orders(["x"], TOKENS, 0)[0].sort().values.tolist() == list(range(TOKENS))


def planted(images=40, share=0.3):
    """One sink of nine tokens gets ``share`` in head 0 of layer 1, and its even share elsewhere."""
    rows = []
    for image in range(images):
        for layer in range(2):
            for head in range(2):
                high = share if (layer, head) == (1, 0) else 1 / 9
                rest = (1 - high) / 8
                for mask, sink in (("true", high), ("shuffled", rest if image % 9 else high)):
                    for kind, tokens, per in (("vsink", 1, sink), ("nonsink", 8, None)):
                        total = per if per is not None else 1 - sink
                        rows.append((f"i{image}", layer, head, kind, mask, total, tokens))
                    rows.append((f"i{image}", layer, head, "lsink", mask, 0.0, 0))
    names = ["image", "layer", "head", "kind", "mask", "attention", "tokens"]
    return pd.DataFrame(rows, columns=names)


def test_planted_attention_is_found_in_its_head_alone():
    table = attention_by_layer(planted(), resamples=200)
    assert set(table["kind"]) == {"vsink", "nonsink"}  # nothing is said of a kind that is not there
    cells = table.set_index(["layer", "head", "kind", "mask"])
    found = cells.loc[(1, 0, "vsink", "true")]
    assert found["value"] == pytest.approx(0.3)
    assert (found["low"], found["high"]) == pytest.approx((0.3, 0.3))
    assert cells.loc[(1, 1, "vsink", "true"), "value"] == pytest.approx(1 / 9)
    assert cells.loc[(1, -1, "vsink", "true"), "value"] == pytest.approx((0.3 + 1 / 9) / 2)
    assert cells.loc[(-1, -1, "vsink", "true"), "value"] == pytest.approx((0.3 + 3 / 9) / 4)
    assert cells.loc[(1, 0, "nonsink", "true"), "value"] == pytest.approx(0.7 / 8)
    assert cells.loc[(1, 0, "vsink", "shuffled"), "high"] < 0.2
    assert (table["n_images"] == 40).all()


def test_intervals_are_over_images():
    """Two images that differ: many questions about one of them narrow nothing."""
    two = planted(2)
    two.loc[two["image"] == "i1", "attention"] *= 2
    many = pd.concat([two] * 20, ignore_index=True)
    one, other = (attention_by_layer(t, resamples=200).set_index("layer") for t in (two, many))
    np.testing.assert_allclose(one["high"] - one["low"], other["high"] - other["low"])
    assert (one["high"] > one["low"]).all()


def test_of_nothing_comes_an_empty_table():
    assert attention_by_layer(pd.DataFrame()).empty
