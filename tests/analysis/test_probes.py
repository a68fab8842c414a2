"""Probes: what was planted is found, what was not is not, and the control is a control."""

import numpy as np
import pandas as pd
import pytest
import torch

from diysink.analysis import Context
from diysink.analysis.diysink_subject import DIYSinkSubject
from diysink.analysis.probes import Probes, ProbeSettings, unseen_hits
from diysink.analysis.table import select
from diysink.resampling import Bootstrap
from diysink.sinks.random_matched import random_matched_tokens
from tests.analysis.batches import batch_of, measured
from tests.tiny_models import tiny_generator, tiny_questions

TOKENS, DIM, N = 12, 16, 150
BOX = ("top", "left", "bottom", "right")


def probes(labels, **settings):
    labels = labels.reindex(columns=["image", "attribute", "scope", "label", *BOX])
    return Probes(ProbeSettings(**settings), Context(Bootstrap(100), labels=labels))


def planted(shuffle=False, seed=0, trace=0.0):
    """Mean states of sinks that hold the scene and of a place that holds the shape; and labels."""
    rng = np.random.default_rng(seed)
    scene, shape = rng.integers(0, 3, (2, N))
    codes = rng.normal(size=(2, 3, DIM))
    tokens = rng.normal(size=(N, TOKENS, DIM))
    sinks = np.zeros((N, TOKENS), dtype=bool)
    place = np.zeros((N, TOKENS), dtype=bool)
    for i in range(N):
        order = rng.permutation(TOKENS)
        sinks[i, order[:3]], place[i, order[3]] = True, True
    tokens[sinks] += 3 * np.repeat(codes[0][scene], 3, axis=0)
    tokens[place] += 5 * codes[1][shape]
    if shuffle:
        sinks = rng.permuted(sinks, axis=1)
    keys = [f"image{i}" for i in range(N)]
    drawn = random_matched_tokens(torch.from_numpy(sinks), keys, 0).numpy()
    sources = {"sink": sinks, "random-matched": drawn, "nonsinks": ~sinks, "place/shape": place}
    # Random weights keep a trace of the scene, in all tokens alike.
    untrained = rng.normal(size=tokens.shape) + trace * codes[0][scene][:, None]
    rows = pd.concat(
        [
            pd.DataFrame({"image": keys, "where": "vit", "layer": 3, "encoder": encoder,
                          "source": name,
                          "mean": list((states * m[..., None]).sum(1) / m.sum(1)[:, None])})
            for encoder, states in (("trained", tokens), ("untrained", untrained))
            for name, m in sources.items()
        ],
        ignore_index=True,
    )  # fmt: skip
    labels = pd.DataFrame(
        [(key, "scene", "global", f"s{v}") for key, v in zip(keys, scene, strict=True)]
        + [(key, "shape", "local", f"f{v}") for key, v in zip(keys, shape, strict=True)],
        columns=["image", "attribute", "scope", "label"],
    )
    return rows, labels


@pytest.fixture(scope="module")
def table():
    rows, labels = planted()
    return probes(labels).summarize(rows)


def at(table, group, condition, metric="accuracy", control="none"):
    chosen = select(table, metric=metric, group=group, condition=condition, control=control)
    [row] = chosen.to_dict("records")
    return row


def test_what_sinks_carry_is_found_in_sinks_and_not_in_random_others(table):
    assert at(table, "scene", "sink")["value"] > 0.95
    assert at(table, "scene", "sink", "selectivity")["low"] > 0.4
    drawn = at(table, "scene", "random-matched")
    assert drawn["low"] < drawn["chance"]
    assert at(table, "scene", "random-matched", "selectivity")["low"] < 0
    assert at(table, "scene", "sink - random-matched")["low"] > 0.4


def test_what_a_place_carries_is_found_there_and_not_in_sinks(table):
    assert at(table, "shape", "place")["value"] > 0.95
    sink = at(table, "shape", "sink")
    assert sink["low"] < sink["chance"]
    assert at(table, "shape", "sink", "selectivity")["low"] < 0
    assert at(table, "shape", "sink - place")["high"] < -0.4
    assert "place" not in set(select(table, group="scene")["condition"])


def test_shuffled_masks_find_nothing():
    """The same tokens, the sinks' mask shuffled: three tokens at random, a sink among them."""
    rows, labels = planted(shuffle=True)
    gap = at(probes(labels).summarize(rows), "scene", "sink - random-matched")
    assert gap["low"] < 0 < gap["high"]


def accuracies(table, control):
    keys = ["where", "layer", "group", "condition"]
    return select(table, metric="accuracy", control=control).set_index(keys)["value"]


def test_selectivity_is_the_distance_to_the_untrained_encoder(table):
    untrained, shuffled = accuracies(table, "untrained"), accuracies(table, "shuffled")
    gaps = select(table, metric="selectivity").set_index(untrained.index.names)["value"]
    own = accuracies(table, "none").loc[gaps.index]
    np.testing.assert_allclose(gaps, own - untrained.loc[gaps.index], atol=1e-12)
    assert ((untrained - 1 / 3).abs() < 0.15).all()  # no trace of the labels there
    assert ((shuffled - 1 / 3).abs() < 0.15).all()
    assert len(untrained) == len(shuffled) == len(gaps)
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()


def test_what_random_weights_pass_on_is_no_selectivity():
    """The scene can be told as well from random weights: chance does not see that."""
    rows, labels = planted(trace=3.0)
    table = probes(labels).summarize(rows)
    assert at(table, "scene", "sink")["value"] > 0.95
    assert at(table, "scene", "sink", control="untrained")["value"] > 0.95
    assert at(table, "scene", "sink", control="shuffled")["high"] < 0.5
    gap = at(table, "scene", "sink", "selectivity")
    assert gap["low"] <= 0 <= gap["high"]
    assert at(table, "scene", "random-matched", "selectivity")["high"] < -0.4


def test_the_mean_over_a_scope_is_that_of_its_attributes():
    rows, labels = planted()
    more = labels[labels["attribute"] == "scene"].assign(
        attribute="copy", label=lambda t: "x" + t["label"]
    )
    table = probes(pd.concat([labels, more])).summarize(rows)
    every = at(select(table, scope="global"), "all", "sink - random-matched")
    each = [at(table, name, "sink - random-matched")["value"] for name in ("scene", "copy")]
    assert every["value"] == pytest.approx(np.mean(each))


def test_a_probe_is_judged_on_images_it_has_not_seen():
    """As many dimensions as images: learnt by heart, and no better than chance on the rest."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N, 2 * N))
    assert abs(unseen_hits(features, rng.choice(["a", "b"], N), 5, 1e-6).mean() - 0.5) < 0.15


def test_rare_labels_and_images_without_sinks_are_left_out():
    rows, labels = planted()
    rare = labels.copy()
    rare.loc[:1, "label"] = "seldom"
    sink = at(probes(rare).summarize(rows), "scene", "sink")
    assert (sink["n_images"], sink["n_classes"]) == (N - 2, 3)
    without = rows.copy()
    empty = without.index[(without["source"] == "sink")][:10]
    without.loc[empty, "mean"] = pd.Series([np.full(DIM, np.nan)] * 10, index=empty)
    assert (probes(labels).summarize(without)["n_images"] == N - 10).all()
    assert probes(labels.assign(label="same")).summarize(rows).empty


def test_without_labels_there_is_nothing_to_probe():
    assert "labels" in Probes(ProbeSettings(), Context()).lacks()
    assert probes(planted()[1]).lacks() is None


@pytest.mark.parametrize("gap", [0.2, -0.2, 0.0])
def test_the_figure_s_title_follows_the_contrast_of_the_last_layer(table, gap):
    chosen = (table["group"] == "all") & (table["condition"] == "sink - random-matched")
    changed = table.copy()
    changed.loc[chosen, ["value", "low", "high"]] = [gap, gap - 0.1, gap + 0.1]
    first, second = Probes.figures(changed, 0.95)
    word = {0.2: "20 points [10, 30] more from", -0.2: "20 points [-30, -10] less from"}
    assert word.get(gap, "no more and no less from") in first.title
    assert "scene" in first.caption
    assert "ViT 3" in first.svg
    assert "less from sinks than from nonsinks at the place" in second.title


# --- On a model ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["natural", "front"])
def generator(parts, request):
    return tiny_generator(parts, sinks=0.35, arrangement=request.param)


LABELS = pd.DataFrame(
    [(image, "scene", "global", "a", *[np.nan] * 4) for image in "xyz"]
    + [(image, "shape", "local", "e", 1 / 3, 2 / 3, 2 / 3, 1.0) for image in "xy"],
    columns=["image", "attribute", "scope", "label", *BOX],
)


def test_means_are_of_the_states_of_transformers_own_forward(generator):
    questions = tiny_questions(("a", "b", "c"))
    rows = measured(probes(LABELS), generator, questions)
    rows = select(rows, encoder="trained").set_index(["where", "layer", "source"])
    model = generator.model
    batch = batch_of(generator, questions)
    tower = model.model.vision_tower(batch.encoded.inputs, output_hidden_states=True).hidden_states
    prefix = tower[0].shape[1] - 9
    assert set(rows.loc["vit"].index.get_level_values("layer")) == {0, 1, 2}  # -2 of three blocks
    at_place = torch.zeros(3, 9, dtype=torch.bool)
    at_place[:2, 5] = True
    expected = {"sink": batch.sinks, "random-matched": batch.random_matched,
                "nonsinks": ~batch.sinks, "place/shape": at_place & ~batch.sinks}  # fmt: skip

    def same(where, layer, source, states, mask):
        for mean, tokens, chosen in zip(rows.loc[(where, layer, source), "mean"], states, mask,
                                        strict=True):  # fmt: skip
            if chosen.any():
                own = tokens[chosen].mean(0).detach()
                torch.testing.assert_close(torch.tensor(mean), own, atol=1e-5, rtol=1e-5)
            else:
                assert np.isnan(mean).all()

    for layer in range(3):
        for source, mask in expected.items():
            same("vit", layer, source, tower[layer][:, prefix:], mask)
        if prefix:
            same("vit", layer, "class", tower[layer][:, :1], torch.ones(3, 1, dtype=torch.bool))
    ids, mask = DIYSinkSubject(generator).prompt_ids([""] * 3)
    out = model(input_ids=ids, pixel_values=batch.encoded.inputs, output_hidden_states=True)
    index = batch.image_prompts.index
    for layer in range(2):  # transformers normalises what leaves the last block
        states = out.hidden_states[layer]
        ordered = states.gather(1, index[..., None].expand(-1, -1, states.shape[-1]))
        same("llm", layer, "sink", ordered, batch.sinks)


def test_the_untrained_encoder_is_of_the_seed_and_leaves_the_model_as_it_is(generator):
    questions = tiny_questions(("a", "b", "c"))
    model = generator.model
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    torch.manual_seed(1)
    state = torch.get_rng_state()
    # another seed than that of the tiny model's own weights
    analysis = Probes(ProbeSettings(), Context(Bootstrap(100), seed=5, labels=LABELS))
    rows = measured(analysis, generator, questions)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    again = measured(analysis, generator, questions)
    pd.testing.assert_frame_equal(rows, again)
    untrained = select(rows, encoder="untrained").set_index(["where", "layer", "source"])["mean"]
    trained = select(rows, encoder="trained").set_index(["where", "layer", "source"])["mean"]
    assert untrained.index.equals(trained.index)
    # made here once more, and run by transformers' own forward
    own = model.model.vision_tower
    torch.manual_seed(5)
    tower = type(own)(own.config).eval()
    batch = batch_of(generator, questions)
    hidden = tower(batch.encoded.inputs, output_hidden_states=True).hidden_states
    states = hidden[2][:, hidden[2].shape[1] - 9 :].detach()
    for mean, tokens, sinks in zip(untrained["vit", 2, "sink"], states, batch.sinks, strict=True):
        torch.testing.assert_close(torch.tensor(mean), tokens[sinks].mean(0), atol=1e-5, rtol=1e-5)
    for layer in (0, 1):
        ours, theirs = (np.stack(means["llm", layer, "sink"].tolist())
                        for means in (untrained, trained))  # fmt: skip
        assert not np.allclose(ours, theirs, rtol=1e-2, atol=0, equal_nan=True)


def test_some_layers_alone(generator):
    layers = {"vit": [-1], "llm": []}
    rows = measured(probes(LABELS, layers=layers), generator, tiny_questions(("a", "b", "c")))
    assert set(zip(rows["where"], rows["layer"], strict=True)) == {("vit", 2)}
