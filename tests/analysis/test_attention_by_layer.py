"""Attention by layer, head and kind: what was planted is found, and not after shuffling."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from diysink.analysis import Context, Settings
from diysink.analysis.attention import Attention, AttentionSettings
from diysink.analysis.attention_by_layer import AttentionByLayer
from diysink.analysis.controls import drawn_orders
from diysink.analysis.driver import measure_batch
from diysink.analysis.massive import MassiveRule
from diysink.analysis.table import select
from diysink.resampling import Bootstrap
from diysink.selection import QuestionBatch
from tests.analysis.batches import batch_of, measured
from tests.tiny_models import tiny_generator, tiny_questions

TOKENS, HEADS = 9, 2
RULE = MassiveRule(ratio=48.0)  # at a width of 16 three of at most four, far from chance
BY_LAYER = AttentionByLayer(Settings(), Context(Bootstrap(200), massive=RULE))


@pytest.fixture(scope="module")
def generator(parts):
    """A random model of which about a third of the visual tokens count as sinks."""
    return tiny_generator(parts, sinks=0.35, max_new_tokens=3)


@pytest.fixture(scope="module")
def questions():
    return tiny_questions(("a b c d", "e", "f g"), ("x", "y", "x"))


def by_layer(generator, questions):
    return measured(BY_LAYER, generator, questions, max_new_tokens=3)


def true(table):
    return select(table, control="none")


def test_summed_over_kinds_and_averaged_it_is_the_plain_measurement(generator, questions):
    plain = measured(Attention(AttentionSettings(), Context()), generator, questions,
                     max_new_tokens=3)  # fmt: skip
    table = by_layer(generator, questions)
    assert table["layer"].nunique() == 2
    assert table["head"].nunique() == HEADS
    for name, chosen in (("vsink", plain["sink"]), ("nonsink", ~plain["sink"])):
        rows = select(true(table), condition=name)
        expected = plain["attention"].where(chosen, 0).groupby(plain["id"]).sum()
        np.testing.assert_allclose(rows.groupby("id")["attention"].mean(), expected, rtol=1e-4)
        tokens = chosen.groupby(plain["id"]).sum()
        assert rows.groupby("id")["tokens"].first().tolist() == tokens.tolist()
    # Random states have no massive dimension: there is no L-sink.
    assert not table.loc[table["condition"] == "lsink", "tokens"].any()


@pytest.mark.parametrize("parts", [("clip", "llama"), ("siglip", "phi")], indirect=True)
def test_a_planted_dimension_makes_l_sinks_where_it_is_planted(generator, questions):
    """The second layer is shown massive at the first token, at a sink and at another patch."""
    batch = batch_of(generator, questions, max_new_tokens=3)
    prompts = batch.prompts
    sink, other = prompts.sinks.int().argmax(1), (~prompts.sinks).int().argmax(1)
    read = batch.subject.read_language

    def planted(prompts, look):
        def changed(layer):
            states = layer.states.clone()
            if layer.number == 1:
                for item, first in enumerate(prompts.mask.argmax(1)):
                    at = [first, *prompts.index[item, [sink[item], other[item]]]]
                    states[item, at, 5] = 1e3
            look(replace(layer, states=states))

        read(prompts, changed)

    batch.subject.read_language = planted
    table = measure_batch({"it": BY_LAYER}, batch)["it"]
    lsinks = select(true(table), condition="lsink", head=0)
    tokens = lsinks.groupby("layer")["tokens"].apply(list)
    assert tokens[0] == [0, 0, 0]
    assert tokens[1] == [1, 1, 1]  # the sink stays a V-sink
    seen = select(table, layer=1, head=0).groupby(["control", "id"])["attention"].sum()
    np.testing.assert_allclose(seen["shuffled"], seen["none"], rtol=1e-5)


def test_the_control_shuffles_which_token_is_which(generator, questions):
    table = by_layer(generator, questions)
    sinks = table[(table["condition"] == "vsink") & (table["tokens"] > 0)]
    true, shuffled = (select(sinks, control=name) for name in ("none", "shuffled"))
    assert true["tokens"].tolist() == shuffled["tokens"].tolist()
    assert not np.allclose(true["attention"], shuffled["attention"])


def test_the_control_depends_on_the_image_and_not_on_the_batch(generator, questions):
    table = by_layer(generator, questions)
    one = QuestionBatch(questions.texts[2:], ("3",), (None,), ("x",), questions.pixel_values[2:])
    together = table[table["id"] == "3"]
    np.testing.assert_allclose(by_layer(generator, one)["attention"], together["attention"],
                               atol=1e-6)  # fmt: skip
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
                for mask, sink in (("none", high), ("shuffled", rest if image % 9 else high)):
                    for kind, tokens, per in (("vsink", 1, sink), ("nonsink", 8, None)):
                        total = per if per is not None else 1 - sink
                        rows.append((f"i{image}", layer, head, kind, mask, total, tokens))
                    rows.append((f"i{image}", layer, head, "lsink", mask, 0.0, 0))
    names = ["image", "layer", "head", "condition", "control", "attention", "tokens"]
    return pd.DataFrame(rows, columns=names)


def test_planted_attention_is_found_in_its_head_alone():
    table = BY_LAYER.summarize(planted())
    assert set(table["condition"]) == {"vsink", "nonsink"}  # a kind that is not there has no rows
    cells = table.set_index(["layer", "head", "condition", "control"])
    row = cells.loc[(1, 0, "vsink", "none")]
    assert row["value"] == pytest.approx(0.3)
    assert (row["low"], row["high"]) == pytest.approx((0.3, 0.3))
    assert cells.loc[(1, 1, "vsink", "none"), "value"] == pytest.approx(1 / 9)
    assert cells.loc[(1, -1, "vsink", "none"), "value"] == pytest.approx((0.3 + 1 / 9) / 2)
    assert cells.loc[(-1, -1, "vsink", "none"), "value"] == pytest.approx((0.3 + 3 / 9) / 4)
    assert cells.loc[(1, 0, "nonsink", "none"), "value"] == pytest.approx(0.7 / 8)
    assert cells.loc[(1, 0, "vsink", "shuffled"), "high"] < 0.2
    assert (table["n_images"] == 40).all()
    (drawn,) = AttentionByLayer.figures(table, 0.95)
    assert "15.83 % per V-sink" in drawn.title
    assert "no L-sinks" in drawn.title


def test_intervals_are_over_images():
    """Two images that differ: many questions about one of them narrow nothing."""
    two = planted(2)
    two.loc[two["image"] == "i1", "attention"] *= 2
    many = pd.concat([two] * 20, ignore_index=True)
    one, other = (BY_LAYER.summarize(rows).set_index("layer") for rows in (two, many))
    np.testing.assert_allclose(one["high"] - one["low"], other["high"] - other["low"])
    assert (one["high"] > one["low"]).all()
