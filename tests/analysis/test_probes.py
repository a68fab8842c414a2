"""Probes: what was planted is found, what was not is not, and the control is a control."""

import numpy as np
import pandas as pd
import pytest
import torch

from diysink.analysis.probes import ProbeOptions, probe_tables, token_means, unseen_hits
from diysink.analysis.random_matched import random_matched_tokens
from tests.tiny_models import tiny_generator

TOKENS, DIM, N = 12, 16, 150
OPTIONS = ProbeOptions(folds=3, resamples=100)


def planted(shuffle=False, seed=0):
    """Tokens whose sinks say the scene and whose place says the shape; means of each source."""
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
    matched = random_matched_tokens(torch.from_numpy(sinks), keys, 0).numpy()
    sources = {"sink": sinks, "matched": matched, "pooled": ~sinks, "place/shape": place}
    means = {
        ("vit", 3, name): (tokens * m[..., None]).sum(1) / m.sum(1)[:, None]
        for name, m in sources.items()
    }
    labels = pd.DataFrame(
        [(key, "scene", "global", f"s{v}") for key, v in zip(keys, scene, strict=True)]
        + [(key, "shape", "local", f"f{v}") for key, v in zip(keys, shape, strict=True)],
        columns=["image", "attribute", "scope", "label"],
    )
    return means, keys, labels


@pytest.fixture(scope="module")
def tables():
    return probe_tables(*planted(), OPTIONS)


def at(table, attribute, source, column="source"):
    chosen = table[(table["attribute"] == attribute) & (table[column] == source)]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_what_sinks_carry_is_found_in_sinks_and_not_in_random_others(tables):
    probes, contrasts = tables
    sink, matched = at(probes, "scene", "sink"), at(probes, "scene", "matched")
    assert sink["value"] > 0.95
    assert sink["selectivity_low"] > 0.4
    assert matched["low"] < matched["chance"]
    assert matched["selectivity_low"] < 0
    assert at(contrasts, "scene", "matched", "against")["low"] > 0.4


def test_what_a_place_carries_is_found_there_and_not_in_sinks(tables):
    probes, contrasts = tables
    assert at(probes, "shape", "place")["value"] > 0.95
    sink = at(probes, "shape", "sink")
    assert sink["low"] < sink["chance"]
    assert sink["selectivity_low"] < 0
    assert at(contrasts, "shape", "place", "against")["high"] < -0.4
    assert "place" not in set(probes[probes["attribute"] == "scene"]["source"])


def test_shuffled_masks_find_nothing():
    """The same tokens, the sinks' mask shuffled: three tokens at random, a sink among them."""
    _, contrasts = probe_tables(*planted(shuffle=True), OPTIONS)
    scene = at(contrasts, "scene", "matched", "against")
    assert scene["low"] < 0 < scene["high"]


def test_selectivity_is_the_distance_to_shuffled_labels(tables):
    probes, _ = tables
    control = probes["value"] - probes["selectivity"]
    assert ((control - 1 / 3).abs() < 0.15).all()
    assert (probes["selectivity_low"] <= probes["selectivity"]).all()
    assert (probes["selectivity"] <= probes["selectivity_high"]).all()
    assert (probes["low"] <= probes["value"]).all()
    assert (probes["value"] <= probes["high"]).all()


def test_the_mean_over_a_scope_is_that_of_its_attributes():
    means, keys, labels = planted()
    more = labels[labels["attribute"] == "scene"].assign(
        attribute="copy", label=lambda t: "x" + t["label"]
    )
    _, contrasts = probe_tables(means, keys, pd.concat([labels, more]), OPTIONS)
    every = at(contrasts[contrasts["scope"] == "global"], "all", "matched", "against")
    each = [at(contrasts, name, "matched", "against")["value"] for name in ("scene", "copy")]
    assert every["value"] == pytest.approx(np.mean(each))


def test_a_probe_is_asked_only_about_images_it_has_not_seen():
    """As many dimensions as images: learnt by heart, and no better than chance on the rest."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N, 2 * N))
    labels = rng.choice(["a", "b"], N)
    hits = unseen_hits(features, labels.tolist(), ProbeOptions(ridge=1e-6))
    assert abs(hits.mean() - 0.5) < 0.15


def test_rare_labels_and_images_without_sinks_are_left_out():
    means, keys, labels = planted()
    rare = labels.copy()
    rare.loc[:1, "label"] = "seldom"
    probes, _ = probe_tables(means, keys, rare, OPTIONS)
    assert at(probes, "scene", "sink")["n_images"] == N - 2
    assert at(probes, "scene", "sink")["n_classes"] == 3
    means["vit", 3, "sink"][:10] = np.nan  # 0 / 0: the mean of no token
    probes, _ = probe_tables(means, keys, labels, OPTIONS)
    assert (probes["n_images"] == N - 10).all()
    probes, contrasts = probe_tables(means, keys, labels.assign(label="same"), OPTIONS)
    assert probes.empty
    assert contrasts.empty


# --- On a model ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["natural", "front"])
def generator(parts, request):
    return tiny_generator(parts, sinks=0.35, arrangement=request.param)


def test_states_are_those_of_transformers_own_forward(generator):
    torch.manual_seed(2)
    pixels = torch.randn(3, 3, 12, 12)
    model = generator.model
    chosen = torch.zeros(3, 9, dtype=torch.bool)
    chosen[:, 5] = True
    means = token_means(generator, pixels, {"one": chosen})
    tower = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
    prefix = tower[0].shape[1] - 9
    layers = {layer for where, layer, _ in means if where == "vit"}
    assert layers == {0, 1, 2}  # -2 of three blocks
    for layer in layers:
        expected = tower[layer][:, prefix + 5].detach()
        torch.testing.assert_close(means["vit", layer, "one"], expected)
        if prefix:
            torch.testing.assert_close(means["vit", layer, "class"], tower[layer][:, 0].detach())
        else:
            assert ("vit", layer, "class") not in means
    ids = generator.chat_encoder.question("<image>")[None].repeat(3, 1)
    sinks = model.model.sink_mask(model.model.visual_states(pixels))
    out = model(input_ids=ids, pixel_values=pixels, output_hidden_states=True).hidden_states
    first = int((ids[0] == model.config.image_token_id).nonzero()[0])
    for item in range(3):
        order = torch.arange(9)
        if model.config.arrangement == "front":
            order = torch.argsort((~sinks[item]).int(), stable=True)
        place = first + int((order == 5).nonzero())
        for layer in range(2):  # transformers normalises what leaves the last block
            seen = means["llm", layer, "one"][item]
            torch.testing.assert_close(seen, out[layer][item, place].detach(), atol=1e-5, rtol=1e-5)


def test_hooks_are_gone_and_no_token_is_no_number(generator):
    def hooks():
        modules = generator.model.modules()
        return [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules]

    before = hooks()
    pixels = torch.randn(2, 3, 12, 12)
    none = torch.zeros(2, 9, dtype=torch.bool)
    none[0, 0] = True
    means = token_means(generator, pixels, {"some": none})
    assert means["llm", 0, "some"][0].isfinite().all()
    assert means["llm", 0, "some"][1].isnan().all()
    assert hooks() == before


def test_a_connector_without_a_token_for_each_patch_is_refused(parts):
    generator = tiny_generator(parts, connector="dual-resampler")
    with pytest.raises(ValueError, match="belongs to no patch"):
        token_means(generator, torch.randn(1, 3, 12, 12), {})
