"""Sink dimensions: those planted at a kind of token are found there, and not in the controls."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from diysink.analysis import Context
from diysink.analysis.dimension_overlap import jaccard
from diysink.analysis.dimension_profiles import SETS, DimensionProfiles
from diysink.analysis.dimensions import Dimensions, DimensionsSettings
from diysink.analysis.dimensions_figure import draw_dimensions
from diysink.analysis.massive import MassiveRule
from diysink.analysis.table import select
from diysink.resampling import Bootstrap
from tests.analysis.batches import batch_of, measured
from tests.tiny_models import tiny_generator, tiny_questions

RULE = MassiveRule(ratio=40.0)  # at a width of 16: 2.5 of at most 4
IMAGES = 12
# The tiny Qwen's prompts begin with the image.
LLAMA = pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)


def dimensions(rule=RULE, top=8, resamples=200):
    return Dimensions(DimensionsSettings(top=top), Context(Bootstrap(resamples), massive=rule))


def summarized(rows, **options):
    return dimensions(**options).summarize(rows.assign(checkpoint="x"))


@pytest.fixture(scope="module")
def generator(parts):
    return tiny_generator(parts, sinks=0.3)


@pytest.fixture(scope="module")
def questions():
    return tiny_questions(tuple("abcdefghabcd"), tuple(f"x{i}" for i in range(IMAGES)))


def planted(generator, questions):
    """Rows with, at layer 1, dimension 5 massive at V-sinks, 9 at the first token and a patch."""
    batch = batch_of(generator, questions)
    measuring = dimensions().measure(batch)
    looks, prompts = next(measuring), batch.prompts

    def shown(layer):
        states = layer.states.clone()
        if layer.number == 1:
            for item, first in enumerate(prompts.mask.argmax(1)):
                at, sinks = prompts.index[item], prompts.sinks[item]
                states[item, at[sinks], 5] = 1e3
                states[item, [first, *at[~sinks][:1]], 9] = 1e3
        looks.language(replace(layer, states=states))

    batch.subject.read_language(prompts, shown)
    with pytest.raises(StopIteration) as end:
        next(measuring)
    return end.value.value


def massive(table):
    rows = select(table, metric="ratio", massive=True)
    return {
        cell: set(zip(part["layer"], part["dimension"], strict=True))
        for cell, part in rows.groupby(["condition", "control"])
    }


@LLAMA
def test_planted_dimensions_are_found_at_their_kind_and_layer(generator, questions):
    table = summarized(planted(generator, questions))
    assert massive(table) == {
        ("vsink", "none"): {(1, 5)},
        ("lsink", "none"): {(1, 9)},
        ("first", "none"): {(1, 9)},
    }
    row = select(table, condition="vsink", control="none", massive=True).iloc[0]
    assert row["value"] == pytest.approx(4, rel=1e-3)  # the root of the width: nothing else counts
    assert row["low"] <= row["value"] <= row["high"]
    assert row["contrast"] > 2
    rows = select(table, metric="jaccard", sets="massive").set_index("condition")
    assert rows.loc["vsink & lsink", ["value", "shared"]].tolist() == [0, 0]
    assert rows.loc["lsink & first", "value"] == 1
    assert rows.loc["lsink & first", "p"] == pytest.approx(1 / 16)


@LLAMA
def test_where_nothing_was_planted_nothing_is_massive(generator, questions):
    table = summarized(measured(dimensions(), generator, questions))
    assert massive(table) == {}
    ratios = select(table, metric="ratio")
    assert set(ratios["condition"]) == {"vsink", "first"}  # no token is massive: no L-sink
    assert (ratios.groupby(["layer", "condition", "control"]).size() == 8).all()


@LLAMA
def test_batches_add_up_to_the_whole(generator, questions, tmp_path):
    whole = measured(dimensions(), generator, questions)
    parts = []
    for name, ends in (("a", slice(0, 5)), ("b", slice(5, IMAGES))):
        part = replace(
            questions,
            **{
                name: getattr(questions, name)[ends]
                for name in ("texts", "ids", "groups", "images", "pixel_values")
            },
        )
        measured(dimensions(), generator, part).to_parquet(tmp_path / name)
        parts.append(pd.read_parquet(tmp_path / name))
    merged = DimensionProfiles.from_rows(pd.concat(parts, ignore_index=True))
    for name, value in vars(DimensionProfiles.from_rows(whole)).items():
        np.testing.assert_allclose(getattr(merged, name), value, rtol=1e-4, atol=1e-6)


def made(first, second, images=40, noise=0.1, width=64):
    """Profiles of one layer: large dimensions at V-sinks and at L-sinks."""
    rng = np.random.default_rng(0)
    mean = np.full((images, len(SETS), width), 0.5) + noise * rng.random((images, len(SETS), width))
    for kind, large in (("vsink", first), ("lsink", second)):
        mean[:, SETS.index(kind), large] += 6.0
    return DimensionProfiles(
        mean.sum(0)[None], (mean**2).sum(0)[None], np.full((1, len(SETS)), float(images)), mean
    )


def between(profiles):
    rows = profiles.rows([f"i{i}" for i in range(len(profiles.mean))])
    table = summarized(rows, rule=MassiveRule(), top=3, resamples=500)
    return select(table, condition="vsink & lsink", sets="leading").iloc[0]


def test_different_dimensions_are_told_from_the_same():
    row = between(made([1, 2, 3], [4, 5, 6]))
    assert (row["value"], row["shared"], row["n_images"]) == (0, 0, 40)
    assert row["p"] == 1
    assert (row["low"], row["high"]) == (0, 0)
    assert row["p_differ"] < 0.01
    row = between(made([1, 2, 3], [1, 2, 3]))
    assert row["value"] == 1
    assert row["p"] == pytest.approx(1 / 41664)  # one of C(64, 3) sets
    assert row["p_differ"] > 0.05


def test_kinds_swapped_at_random_do_not_differ():
    """The control of the control: labels that mean nothing must not come out significant."""
    apart = made([1, 2, 3], [4, 5, 6])
    swap = np.random.default_rng(1).random(len(apart.mean)) < 0.5
    v, other = SETS.index("vsink"), SETS.index("lsink")
    mean = apart.mean.copy()
    mean[np.ix_(swap, [v, other])] = mean[np.ix_(swap, [other, v])]
    assert between(replace(apart, mean=mean))["p_differ"] > 0.05


def test_the_interval_is_the_mean_s_standard_error():
    profiles = made([], [], images=100, noise=1.0)
    rows = profiles.rows([f"i{i}" for i in range(100)])
    table = summarized(rows, rule=MassiveRule(), top=64)
    row = select(table, metric="ratio", condition="vsink", control="none", dimension=7)
    values = profiles.mean[:, SETS.index("vsink"), 7]
    assert row["value"].item() == pytest.approx(values.mean())
    assert row["high"].item() - row["value"].item() == pytest.approx(
        1.959964 * values.std(ddof=1) / 10
    )


def test_jaccard_of_sets_that_share_nothing():
    assert jaccard(np.array([1]), np.array([2])) == 0


def ratios(massive_at):
    """Large dimensions by checkpoint and condition; those in ``massive_at`` are massive."""
    return pd.DataFrame(
        [
            {"checkpoint": checkpoint, "layer": layer, "condition": condition, "control": control,
             "dimension": 7, "value": 3.0, "low": 2.9, "high": 3.1, "n_images": 40,
             "massive": (checkpoint, condition) in massive_at and control == "none"}
            for checkpoint in ("untrained", "finetuned")
            for layer in (0, 1)
            for condition, control in (("vsink", "none"), ("vsink", "random-matched"),
                                       ("first", "none"))
        ]
    )  # fmt: skip


def test_the_title_names_massive_dimensions_now_and_before():
    title = draw_dimensions(ratios({("finetuned", "vsink")}), 0.95).title
    assert "V-sinks: 7; L-sinks: none; the first token: none (finetuned)" in title
    assert title.endswith("before (untrained): none")
    assert draw_dimensions(ratios(set()), 0.95).title.startswith("No dimension is massive")
