"""Attention and norm: what is measured is what generation attends to; measures are known ones."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diysink.analysis import Context
from diysink.analysis.attention import SHUFFLED, Attention, AttentionSettings, attention_received
from diysink.analysis.attention_measures import (
    RATIO,
    Measures,
    groups_of,
    norm_edges,
    shuffled_order,
)
from diysink.analysis.table import NONE, select
from diysink.resampling import Bootstrap
from diysink.selection import QuestionBatch
from diysink.sinks import token_norms
from tests.analysis.batches import batch_of, measured
from tests.tiny_models import tiny_generator, tiny_questions

TOKENS, END = 9, 1
BOOTSTRAP = Bootstrap(200)


def attention(**settings):
    return Attention(AttentionSettings(**settings), Context(Bootstrap(50)))


@pytest.fixture(scope="module", params=["natural", "front", "end"])
def generator(parts, request):
    """A random model of which about a third of the visual tokens count as sinks."""
    return tiny_generator(parts, sinks=0.35, arrangement=request.param, max_new_tokens=4)


@pytest.fixture(scope="module")
def questions():
    return tiny_questions(("a b c d", "e", "f g"))


def prompts(generator, questions):
    rows = [generator.chat_encoder.question(f"<image>\n{text}") for text in questions.texts]
    return generator.chat_encoder.pad(rows, side="left")


def step_by_step(generator, questions):
    """The same from what generation itself shows, step after step, under eager attention."""
    model = generator.model
    ids, mask = prompts(generator, questions)
    model.set_attn_implementation("eager")
    out = model.generate(
        input_ids=ids, attention_mask=mask, pixel_values=questions.pixel_values, do_sample=False,
        max_new_tokens=4, pad_token_id=0, eos_token_id=END, output_attentions=True,
        return_dict_in_generate=True,
    )  # fmt: skip
    model.set_attn_implementation("sdpa")
    answers = out.sequences[:, ids.shape[1] :]
    visual = model.model.see(questions.pixel_values)
    spliced = model.model.splice(ids, mask, visual, padding_side="left")
    expected = torch.zeros(len(ids), TOKENS)
    for item, answer in enumerate(answers):
        ends = (answer == END).nonzero()
        steps = int(ends[0]) + 1 if len(ends) else len(answer)
        rows = [
            torch.stack([layer[item, :, -1].mean(0) for layer in out.attentions[step]]).mean(0)
            for step in range(steps)
        ]
        length = spliced.mask.shape[1]
        mean = torch.stack([row[:length] for row in rows]).mean(0)
        index = spliced.visual[item].nonzero().flatten()
        patch = spliced.source[item, index] - spliced.source[item, index].min()
        expected[item, patch] = mean[index].detach()
    return answers, expected


def seen(generator, questions):
    """Attention that was measured, items by tokens."""
    rows = measured(attention(), generator, questions, max_new_tokens=4)
    return torch.tensor(rows["attention"].to_numpy().reshape(-1, TOKENS))


def from_answers(generator, questions, answers):
    """Attention from given answers instead of the model's own."""
    batch = batch_of(generator, questions, max_new_tokens=4)
    subject, layers = batch.subject, []
    texts = subject.prompts(batch.encoded, questions.texts).inputs[0]
    read = subject._spliced(replace(texts, answers=answers))
    subject.read_language(
        read,
        lambda layer: layers.append(attention_received(layer, read.generated, read.index).mean(1)),
    )
    return torch.stack(layers).mean(0)


def test_is_what_generation_attends_to(generator, questions):
    answers, expected = step_by_step(generator, questions)
    found = seen(generator, questions)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(from_answers(generator, questions, answers), found)


def test_norms_and_sinks_are_those_of_the_model(generator, questions):
    rows = measured(attention(), generator, questions, max_new_tokens=4)
    states = generator.model.model.visual_states(questions.pixel_values).detach()
    np.testing.assert_allclose(rows["norm"], token_norms(states).flatten())
    tau = generator.model.config.tau
    assert (rows["sink"] == (rows["norm"] >= tau)).all()
    assert set(rows["sink"]) == {True, False}
    assert rows["tau"].unique().tolist() == [tau]
    assert rows["id"].tolist() == [i for i in questions.ids for _ in range(TOKENS)]
    assert rows["token"].tolist() == [*range(TOKENS)] * 3


def test_shares_are_shares_and_batches_do_not_matter(generator, questions):
    found = seen(generator, questions)
    assert (found >= 0).all()
    assert (found.sum(1) < 1).all()
    one = QuestionBatch(questions.texts[1:2], ("2",), (None,), ("y",), questions.pixel_values[1:2])
    torch.testing.assert_close(seen(generator, one)[0], found[1], atol=1e-6, rtol=1e-5)


def test_what_follows_the_end_has_no_weight(generator, questions):
    answers = torch.tensor([[6, END, 7, 8], [5, 6, 7, 8], [END, 5, 5, 5]])
    other = answers.clone()
    other[0, 2:], other[2, 1:] = 0, 9
    first, second = (from_answers(generator, questions, a) for a in (answers, other))
    torch.testing.assert_close(first, second)
    changed = answers.clone()
    changed[1, 0] = 9  # the control: an answer's own tokens do matter
    assert not torch.allclose(first[1], from_answers(generator, questions, changed)[1])


def test_an_answer_may_hold_the_image_token(generator, questions):
    """A model may well generate it: in an answer it is a token like any other."""
    image = generator.model.config.image_token_id
    found = from_answers(generator, questions, torch.tensor([[image, 6], [5, image], [END, 0]]))
    assert found.shape == (3, TOKENS)
    assert found.isfinite().all()


def test_the_model_is_left_as_it_was(generator, questions):
    language = generator.model.model.language_model

    def state():
        hooks = [len(layer.self_attn._forward_hooks) for layer in language.layers]
        return language.config._attn_implementation, hooks

    before = state()
    seen(generator, questions)
    assert state() == before


def test_prompts_without_answers_are_refused(generator, questions):
    with pytest.raises(ValueError, match="no answers were generated"):
        measured(attention(), generator, questions)


# Measures


def planted(items=60, tokens=20, ratio=5.0, seed=0):
    """Two sinks a question, which get ``ratio`` times the attention of another token."""
    rng = np.random.default_rng(seed)
    sinks = np.zeros((items, tokens), dtype=bool)
    for row in sinks:
        row[rng.choice(tokens, 2, replace=False)] = True
    norms = np.where(sinks, rng.uniform(50, 70, sinks.shape), rng.uniform(5, 15, sinks.shape))
    given = np.where(sinks, ratio, 1.0) * rng.uniform(0.005, 0.015, sinks.shape)
    return given, norms, sinks


IMAGES = np.arange(60) // 2
EVERY = np.ones(60, dtype=np.bool_)


def table_of(rows):
    return pd.DataFrame(list(rows))


def test_finds_the_ratio_that_was_put_in_and_the_control_does_not():
    given, norms, sinks = planted()
    one = Measures(given, IMAGES, BOOTSTRAP)
    made = table_of(one.by_kind(sinks, EVERY, "all")).set_index("condition")
    assert made.loc[RATIO, "value"] == pytest.approx(5, rel=0.05)
    assert made.loc[RATIO, "low"] > 4.4
    assert made.loc["sink", "value"] == pytest.approx(given[sinks].mean())
    assert made["n"].tolist() == [120, 1080, 1200]
    assert (made["n_images"] == 30).all()
    control = np.take_along_axis(sinks, shuffled_order(norms.shape, 0), 1)
    ratio = table_of(one.by_kind(control, EVERY, "all")).iloc[2]
    assert ratio["low"] < 1 < ratio["high"]


def test_bins_hold_every_token_once_and_their_own_mean():
    given, norms, sinks = planted()
    edges = norm_edges(norms, 8, norms[sinks])
    made = table_of(Measures(given, IMAGES, BOOTSTRAP).by_norm(norms, edges))
    assert made["n"].sum() == norms.size
    for row in made.to_dict("records"):
        inside = (norms >= row["norm_low"]) & (norms < row["norm_high"])
        assert row["n"] == inside.sum()
        assert row["value"] == pytest.approx(given[inside].mean())
        assert row["low"] <= row["value"] <= row["high"]


def test_a_norm_at_an_edge_belongs_above_it():
    """As in the sink mask: a token is a sink from tau on."""
    norms, given = np.array([[1.0, 5.0, 9.0]]), np.array([[0.1, 0.2, 0.4]])
    made = table_of(Measures(given, np.array([0]), BOOTSTRAP).by_norm(norms, [1.0, 5.0, 9.5]))
    assert made["value"].tolist() == pytest.approx([0.1, 0.3])


def test_groups_are_apart_and_those_without_sinks_are_left_out():
    given, _, sinks = planted()
    half = np.arange(60) < 30
    one = Measures(given, IMAGES, BOOTSTRAP)
    assert len(list(one.by_kind(sinks & half[:, None], half, "a"))) == 3
    assert not list(one.by_kind(sinks & half[:, None], ~half, "b"))


def test_an_image_without_sinks_stays_in_the_mean_of_the_others():
    given, _, sinks = planted()
    sinks[:2] = False
    made = table_of(Measures(given, IMAGES, BOOTSTRAP).by_kind(sinks, EVERY, "all"))
    nonsink = made.set_index("condition").loc["nonsink"]
    assert nonsink["n"] == (~sinks).sum()
    assert nonsink["n_images"] == 30


@given(
    st.integers(2, 30),
    st.floats(0.5, 200),
    st.lists(st.floats(0.1, 500), min_size=4, max_size=4, unique=True),
)
def test_edges_rise_hold_everything_and_meet_tau(bins, tau, values):
    norms = np.array(values).reshape(2, 2)
    edges = norm_edges(norms, bins, np.array([tau]))
    assert (np.diff(edges) >= 0).all()
    assert edges[0] == pytest.approx(norms.min())
    assert edges[-1] == pytest.approx(norms.max(), rel=1e-6)
    if norms.min() < tau < norms.max():
        assert tau in edges
    assert len(edges) == bins + 1


def test_shuffling_keeps_each_question_its_own_tokens():
    order = shuffled_order((50, 9), 0)
    assert (np.sort(order, 1) == np.arange(9)).all()
    assert (order != np.arange(9)).any()
    np.testing.assert_array_equal(order, shuffled_order((50, 9), 0))


@pytest.mark.parametrize("norms", [[[0.0, 1.0]], [[np.nan, 1.0]]])
def test_norms_that_are_none_are_refused(norms):
    with pytest.raises(ValueError, match="positive and finite"):
        norm_edges(np.array(norms), 4, np.array([]))


@pytest.mark.parametrize("wrong", [{"bins": 1}, {"points": 1}, {"bandwidth": 0.0}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="expected at least 2"):
        AttentionSettings(**wrong)


def test_a_curve_of_a_step_is_the_step():
    norms = np.exp(np.random.default_rng(0).normal(2.0, 0.5, (60, 36)))
    one = Measures(np.where(norms >= 10, 0.03, 0.01), IMAGES, BOOTSTRAP)
    made = table_of(one.curve(norms, 40, 0.02))
    assert made.loc[made["norm"] < 9, "value"].to_numpy() == pytest.approx(0.01)
    assert made.loc[made["norm"] > 11, "value"].to_numpy() == pytest.approx(0.03)
    assert (made["low"] <= made["value"] + 1e-12).all()
    assert len(made) < 40  # where there are no tokens there is no curve
    wide = table_of(one.curve(norms, 10, 5.0))
    assert np.ptp(wide["value"]) < 2e-3  # a wide kernel sees one mean


def test_spearman_by_hand():
    """Ranks (1, 2, 3, 4) against (1, 3, 2, 4): 1 - 6 * 2 / (4 * 15) = 0.8; ties are averaged."""
    given = np.array([[0.1, 0.3, 0.2, 0.4], [0.1, 0.1, 0.2, 0.3]])
    ranks = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    one = Measures(given, np.array([0, 1]), Bootstrap(20))
    first, second = (
        next(one.spearman(ranks, np.array(member), "x"))["value"]
        for member in ([True, False], [False, True])
    )
    assert first == pytest.approx(0.8)
    assert second == pytest.approx(4.5 / (5 * 4.5) ** 0.5)


def test_planted_attention_correlates_and_shuffled_norms_do_not():
    norms = np.exp(np.random.default_rng(0).normal(2.0, 0.5, (60, 36)))
    one = Measures(norms / norms.sum(1, keepdims=True), IMAGES, BOOTSTRAP)
    true = next(one.spearman(norms, EVERY, "all"))
    assert (true["value"], true["low"], true["high"]) == pytest.approx((1, 1, 1))
    assert true["n_images"] == 30
    moved = np.take_along_axis(norms, shuffled_order(norms.shape, 0), 1)
    control = next(one.spearman(moved, EVERY, "all"))
    assert control["low"] < 0 < control["high"]
    even = np.full_like(norms, 0.01)
    assert not list(Measures(even, IMAGES, BOOTSTRAP).spearman(norms, EVERY, "all"))
    even[:2] = norms[:2]
    assert next(Measures(even, IMAGES, BOOTSTRAP).spearman(norms, EVERY, "all"))["n_images"] == 1


def rows_of_plan(ratio=5.0, tau=50.0):
    given, norms, sinks = planted(ratio=ratio)
    items, tokens = norms.shape
    return pd.DataFrame(
        {
            "id": np.repeat([f"q{i}" for i in range(items)], tokens),
            "image": np.repeat([f"i{i}" for i in IMAGES], tokens),
            "group": np.repeat(np.array(["global", None] * (items // 2), dtype=object), tokens),
            "token": np.tile(np.arange(tokens), items),
            "norm": norms.ravel(), "sink": sinks.ravel(), "attention": given.ravel(), "tau": tau,
            "relative": False,
        }
    )  # fmt: skip


def test_the_table_has_every_measure_with_its_control_and_other_taus():
    table = attention(taus=(0.05, 2.0), points=8).summarize(rows_of_plan())
    assert set(table["control"]) == {NONE, SHUFFLED}
    ratio = select(table, metric="attention ratio", control=NONE, group="all").set_index("tau")
    assert ratio.index.tolist() == [1.0]  # at .05 every token is a sink, at 2 none
    assert ratio.loc[1.0, "low"] > 4.4
    assert select(table, metric="attention ratio", control=SHUFFLED)["low"].max() < 1.2
    sinks = select(table, metric="sinks per image", control=NONE).set_index("tau")["value"]
    assert sinks.to_dict() == pytest.approx({0.05: 20.0, 1.0: 2.0, 2.0: 0.0})
    assert set(select(table, metric="spearman")["group"]) == {"all", "global"}
    assert {"attention by norm", "attention curve"} < set(table["metric"])


def test_other_taus_of_a_relative_threshold_go_by_each_image():
    rows = rows_of_plan(tau=2.0).assign(relative=True)
    rows["norm"] = np.where(rows["sink"], 30.0, 10.0) * (1 + pd.factorize(rows["image"])[0])
    table = attention(taus=(0.4, 1.4, 1.6), points=8).summarize(rows)
    sinks = select(table, metric="sinks per image", control=NONE).set_index("tau")["value"]
    assert sinks.to_dict() == pytest.approx({0.4: 20.0, 1.0: 2.0, 1.4: 2.0, 1.6: 0.0})


def test_without_sinks_there_is_no_ratio_and_the_figure_says_so():
    table = attention(points=8).summarize(rows_of_plan().assign(sink=False, tau=None))
    assert "attention ratio" not in set(table["metric"])
    assert "sinks per image" not in set(table["metric"])
    assert "No visual token is a sink" in Attention.figures(table, 0.95)[0].title


@pytest.mark.parametrize(
    ("ratio", "beginning"),
    [(5.0, "A sink gets 4."), (0.2, "A sink gets 0.19"), (1.05, "No difference in attention")],
)
def test_the_title_is_what_the_interval_shows(ratio, beginning):
    table = attention(points=8).summarize(rows_of_plan(ratio))
    bins, curve = Attention.figures(table, 0.95)
    assert bins.title.startswith(beginning)
    assert "Spearman's rho" in curve.title


def test_groups_are_all_and_those_that_are_known():
    groups = groups_of(pd.Series(["b", None, "a"]))
    assert {name: member.tolist() for name, member in groups.items()} == {
        "all": [True] * 3, "a": [False, False, True], "b": [True, False, False]
    }  # fmt: skip
