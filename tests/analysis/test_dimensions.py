"""Sink dimensions: those planted at a kind of token are found there, and not in the controls."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from diysink.analysis.attention_layers import read_language
from diysink.analysis.dimension_overlap import dimension_overlap, jaccard
from diysink.analysis.dimensions import (
    SETS,
    DimensionProfiles,
    dimension_profiles,
    sink_dimensions,
)
from diysink.analysis.massive import MassiveRule
from diysink.selection import QuestionBatch
from tests.tiny_models import tiny_generator, tiny_questions

RULE = MassiveRule(ratio=40.0)  # at a width of 16: 2.5 of at most 4
IMAGES = 12
# The tiny Qwen's prompts begin with the image.
LLAMA = pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)


@pytest.fixture(scope="module")
def generator(parts):
    return tiny_generator(parts, sinks=0.3)


@pytest.fixture(scope="module")
def questions():
    return tiny_questions(tuple("abcdefghabcd"), tuple(f"x{i}" for i in range(IMAGES)))


def part(questions, start, end):
    """Some of the questions as a batch of their own."""
    return QuestionBatch(
        questions.texts[start:end],
        questions.ids[start:end],
        questions.groups[start:end],
        questions.images[start:end],
        questions.pixel_values[start:end],
    )


@pytest.fixture
def planted(generator, monkeypatch):
    """At layer 1: dimension 5 massive at V-sinks, 9 at the first token and one other patch."""
    module = sys.modules[dimension_profiles.__module__]
    real = module.patch_places
    found = []

    def places(spliced, tokens):
        at = real(spliced, tokens)
        sinks = spliced.sinks.gather(1, at)
        found.append((at, sinks))
        return at

    def read(language_model, look, embeds, mask):
        def shown(layer):
            states = layer.states.clone()
            at, sinks = found[-1]
            if layer.number == 1:
                for item, first in enumerate(mask.argmax(1)):
                    states[item, at[item][sinks[item]], 5] = 1e3
                    other = at[item][~sinks[item]][:1]
                    states[item, [first, *other], 9] = 1e3
            look(replace(layer, states=states))

        read_language(language_model, shown, embeds, mask)

    monkeypatch.setattr(module, "patch_places", places)
    monkeypatch.setattr(module, "read_language", read)


def massive(table):
    rows = table[table["massive"]]
    return {
        (kind, mask): set(zip(part["layer"], part["dimension"], strict=True))
        for (kind, mask), part in rows.groupby(["kind", "mask"])
    }


@LLAMA
def test_planted_dimensions_are_found_at_their_kind_and_layer(generator, questions, planted):
    profiles = dimension_profiles(generator, questions, RULE)
    table = sink_dimensions({"aligned": profiles}, RULE)
    assert massive(table) == {
        ("vsink", "true"): {(1, 5)},
        ("lsink", "true"): {(1, 9)},
        ("first", "true"): {(1, 9)},
    }
    row = table[(table["kind"] == "vsink") & table["massive"] & (table["mask"] == "true")].iloc[0]
    assert row["ratio"] == pytest.approx(4, rel=1e-3)  # the root of the width: nothing else counts
    assert row["low"] <= row["ratio"] <= row["high"]
    assert row["contrast"] > 2
    overlap = dimension_overlap({"aligned": profiles}, RULE, resamples=200)
    rows = overlap[overlap["sets"] == "massive"].set_index(["a", "b"])
    assert rows.loc[("vsink", "lsink"), ["jaccard", "shared"]].tolist() == [0, 0]
    assert rows.loc[("lsink", "first"), "jaccard"] == 1
    assert rows.loc[("lsink", "first"), "p"] == pytest.approx(1 / 16)


@LLAMA
def test_where_nothing_was_planted_nothing_is_massive(generator, questions):
    table = sink_dimensions({"untrained": dimension_profiles(generator, questions, RULE)}, RULE)
    assert not table["massive"].any()
    assert set(table["kind"]) == {"vsink", "first"}  # no token is lit: there is no L-sink
    assert (table.groupby(["layer", "kind", "mask"]).size() == 8).all()


@LLAMA
def test_batches_merge_to_the_whole(generator, questions, tmp_path):
    whole = dimension_profiles(generator, questions, RULE)
    parts = [
        dimension_profiles(generator, part(questions, *ends), RULE)
        for ends in ((0, 5), (5, IMAGES))
    ]
    parts[0].save(tmp_path / "profiles.safetensors")
    parts[0] = DimensionProfiles.load(tmp_path / "profiles.safetensors")
    merged = DimensionProfiles.merged(parts)
    for name, value in vars(whole).items():
        np.testing.assert_allclose(getattr(merged, name), value, rtol=1e-4, atol=1e-6)


def made(first, second, images=40, noise=0.1, width=64):
    """Profiles of one layer: loud dimensions at V-sinks and at L-sinks."""
    rng = np.random.default_rng(0)
    mean = np.full((images, len(SETS), width), 0.5) + noise * rng.random((images, len(SETS), width))
    for kind, loud in (("vsink", first), ("lsink", second)):
        mean[:, SETS.index(kind), loud] += 6.0
    return DimensionProfiles(
        mean.sum(0)[None], (mean**2).sum(0)[None], np.full((1, len(SETS)), float(images)), mean
    )


def between(table, sets="leading"):
    rows = table[(table["a"] == "vsink") & (table["b"] == "lsink") & (table["sets"] == sets)]
    return rows.iloc[0]


def test_different_dimensions_are_told_from_the_same():
    apart = made([1, 2, 3], [4, 5, 6])
    row = between(dimension_overlap({"x": apart}, MassiveRule(), top=3, resamples=500))
    assert (row["jaccard"], row["shared"], row["n_images"]) == (0, 0, 40)
    assert row["p"] == 1
    assert (row["low"], row["high"]) == (0, 0)
    assert row["p_differ"] < 0.01
    alike = made([1, 2, 3], [1, 2, 3])
    row = between(dimension_overlap({"x": alike}, MassiveRule(), top=3, resamples=500))
    assert row["jaccard"] == 1
    assert row["p"] == pytest.approx(1 / 41664)  # one of C(64, 3) sets
    assert row["p_differ"] > 0.05


def test_kinds_swapped_at_random_do_not_differ():
    """The control of the control: labels that mean nothing must not come out significant."""
    apart = made([1, 2, 3], [4, 5, 6])
    swap = np.random.default_rng(1).random(len(apart.mean)) < 0.5
    v, other = SETS.index("vsink"), SETS.index("lsink")
    mean = apart.mean.copy()
    mean[np.ix_(swap, [v, other])] = mean[np.ix_(swap, [other, v])]
    shuffled = replace(apart, mean=mean)
    row = between(dimension_overlap({"x": shuffled}, MassiveRule(), top=3, resamples=500))
    assert row["p_differ"] > 0.05


def test_the_interval_is_the_mean_s_standard_error():
    profiles = made([], [], images=100, noise=1.0)
    row = sink_dimensions({"x": profiles}, MassiveRule(), top=64).query(
        "kind == 'vsink' and mask == 'true' and dimension == 7"
    )
    values = profiles.mean[:, SETS.index("vsink"), 7]
    assert row["ratio"].item() == pytest.approx(values.mean())
    assert row["high"].item() - row["ratio"].item() == pytest.approx(
        1.959964 * values.std(ddof=1) / 10
    )


def test_jaccard_of_sets_that_share_nothing():
    assert jaccard(np.array([1]), np.array([2])) == 0


@LLAMA
def test_refuses_questions_without_images(generator, questions):
    blind = QuestionBatch(questions.texts, questions.ids, questions.groups, questions.images)
    with pytest.raises(ValueError, match="without pixel_values"):
        dimension_profiles(generator, blind, RULE)
