"""Maps of relevance: planted attention is measured, a shuffled mask finds nothing."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from diysink.analysis import Context
from diysink.analysis.relevance import Relevance, RelevanceSettings, maps_of, spatial_entropy
from diysink.analysis.relevance_figure import draw_relevance, draw_relevance_examples
from diysink.analysis.table import ALL, select
from diysink.resampling import Bootstrap
from tests.analysis.batches import batch_of, measured
from tests.tiny_models import tiny_generator, tiny_questions

TOKENS = 9
LESS = "sink - random-matched"


def relevance(labels=None, **settings):
    context = Context(Bootstrap(100, 0.9, 0))
    if labels is not None:
        context = Context(Bootstrap(100, 0.9, 0), labels=labels)
    return Relevance(RelevanceSettings(**settings), context)


def test_entropy_by_hand():
    maps = torch.zeros(1, 4, 3)
    maps[0, :, 0] = 0.25  # even
    maps[0, 2, 1] = 1.0  # one patch
    maps[0, :2, 2] = 0.5  # two of four: half of the bits
    torch.testing.assert_close(spatial_entropy(maps)[0], torch.tensor([1.0, 0.0, 0.5]))


def test_maps_are_columns_and_the_mean_map_is_of_the_sum_over_heads():
    attention = torch.tensor([[[[0.9, 0.1], [0.3, 0.7]], [[0.1, 0.9], [0.1, 0.9]]]])
    maps = dict(maps_of(attention))
    assert list(maps) == [0, 1, ALL]
    torch.testing.assert_close(maps[0][0, :, 0], torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(maps[1][0, :, 1], torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(maps[ALL][0, :, 0], torch.tensor([1.0, 0.4]) / 1.4)


@pytest.fixture(scope="module")
def generator(parts):
    made = tiny_generator(parts, sinks=0.3, connector="single", arrangement="natural")
    torch.manual_seed(0)
    for name, weight in made.model.model.vision_tower.named_parameters():
        if "q_proj.weight" in name or "k_proj.weight" in name:
            torch.nn.init.normal_(weight)  # attention that depends on what it sees
    made.model.config.tau = 0.0  # named per test
    return made


@pytest.fixture
def questions():
    return tiny_questions(("a", "b", "c"))


@pytest.fixture
def named(generator):
    """Name tokens sinks, whatever their norms."""

    def name(*tokens):
        masks = torch.zeros(len(tokens), TOKENS, dtype=torch.bool)
        for mask, chosen in zip(masks, tokens, strict=True):
            mask[list(chosen)] = True
        generator.model.model.sink_mask = lambda states: masks[: len(states)]

    yield name
    generator.model.model.__dict__.pop("sink_mask", None)


BOXES = pd.DataFrame(
    [{"image": "x", "attribute": "shape", "scope": "local", "label": "e", "top": 0.0,
      "left": 0.0, "bottom": 1 / 3, "right": 1.0}]
)  # fmt: skip


def test_each_image_has_the_means_of_its_chosen_tokens(generator, questions, named):
    named([1, 5], [0], [])  # the third image has no sink: no rows
    rows = measured(relevance(BOXES, examples=0), generator, questions)
    assert set(rows["image"]) == {"x", "y"}
    assert len(rows) == 2 * 2 * 3 * 2
    assert set(rows["layer"]) == {0, 1}
    batch = batch_of(generator, questions)
    seen = {}
    prefix = batch.encoded.prefix
    batch.subject.read_vision(
        batch.encoded,
        lambda layer: seen.__setitem__(layer.number, layer.attention[:, :, prefix:, prefix:]),
    )
    maps = dict(maps_of(seen[1]))[0]
    row = rows.query("image == 'x' and layer == 1 and head == 0 and condition == 'sink'").iloc[0]
    assert row["entropy"] == pytest.approx(float(spatial_entropy(maps)[0, [1, 5]].mean()))
    assert row["inside"] == pytest.approx(float(maps[0, :3][:, [1, 5]].sum(0).mean()))
    assert row["area"] == pytest.approx(1 / 3)
    assert rows[rows["image"] == "y"][["inside", "area"]].isna().all(axis=None)


def test_examples_are_the_first_images_maps_in_the_last_block(generator, questions, named):
    named([1, 5], [], [0])
    rows = measured(relevance(examples=2), generator, questions)
    maps = select(relevance().summarize(rows), metric="map")
    assert maps["image"].tolist() == ["x", "x"]  # the second image has no sink
    assert set(maps["layer"]) == {1}
    assert maps["token"].iloc[0] == 1
    assert maps["map"].map(sum).tolist() == pytest.approx([1, 1])
    entropy = spatial_entropy(torch.tensor(maps["map"].iloc[0])[None, :, None])
    assert maps["value"].iloc[0] == pytest.approx(float(entropy), rel=1e-5)


def planted(images=60, shuffle=False):
    """Measured rows of maps in which sinks are seen from everywhere, others from their place."""
    rng = np.random.default_rng(0)
    rows = []
    for image in range(images):
        order = rng.permutation(TOKENS)
        sinks, drawn = order[:3], order[3:6]
        entropy = np.where(np.isin(range(TOKENS), sinks), 0.95, 0.4) + rng.normal(0, 0.03, TOKENS)
        share = np.where(np.isin(range(TOKENS), sinks), 0.33, 0.7) + rng.normal(0, 0.03, TOKENS)
        if shuffle:
            order = rng.permutation(TOKENS)
            sinks, drawn = order[:3], order[3:6]
        rows += [
            {"image": f"{image}", "layer": 0, "head": head, "condition": name, "token": -1,
             "entropy": entropy[at].mean(), "inside": share[at].mean(), "area": 1 / 3}
            for name, at in (("sink", sinks), ("random-matched", drawn))
            for head in (ALL, 0)
        ]  # fmt: skip
    return pd.DataFrame(rows)


def test_broad_sinks_are_found_and_shuffled_masks_find_nothing():
    table = relevance().summarize(planted())
    entropy = select(table, metric="entropy", head=ALL).set_index("condition")
    assert entropy.loc["sink", "value"] == pytest.approx(0.95, abs=0.02)
    assert entropy.loc["random-matched", "value"] == pytest.approx(0.4, abs=0.02)
    assert entropy.loc[LESS, "low"] > 0.5
    assert entropy.loc["sink", "n_images"] == 60
    assert select(table, metric="inside", head=ALL, condition=LESS)["high"].item() < -0.3
    assert select(table, metric="area")["value"].item() == pytest.approx(1 / 3)
    control = relevance().summarize(planted(shuffle=True))
    for metric in ("entropy", "inside"):
        gap = select(control, metric=metric, head=ALL, condition=LESS).iloc[0]
        assert gap["low"] < 0 < gap["high"]


def test_without_boxes_there_is_no_share_inside():
    table = relevance().summarize(planted().assign(inside=np.nan, area=np.nan))
    assert set(table["metric"]) == {"entropy"}


@pytest.mark.parametrize(
    ("gap", "title"),
    [
        (0.2, "broader area than other tokens in 2, from a narrower one in 0"),
        (-0.2, "broader area than other tokens in 0, from a narrower one in 2"),
        (0.0, "broader area than other tokens in 0, from a narrower one in 0"),
    ],
)
def test_the_figure_counts_heads_each_way(gap, title):
    rows = [
        {"layer": 0, "head": head, "condition": condition, "value": value, "low": value - 0.05,
         "high": value + 0.05, "n_images": 40}
        for head in (ALL, 0, 1)
        for condition, value in (("sink", 0.5 + gap), ("random-matched", 0.5), (LESS, gap))
    ]  # fmt: skip
    assert title in draw_relevance(pd.DataFrame(rows), 0.95).title


def examples(file):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [{"image": image, "file": file, "columns": 3, "condition": condition, "token": 4,
          "layer": 1, "map": rng.dirichlet(np.ones(6)).tolist()}
         for image in ("x", "y") for condition in ("sink", "random-matched")]
    )  # fmt: skip


def test_a_broken_image_leaves_its_maps():
    file = io.BytesIO()
    Image.new("RGB", (12, 8), "red").save(file, "PNG")
    made = draw_relevance_examples(examples(file.getvalue()))
    assert "in 2 images" in made.title
    assert "data:image/png;base64" in made.svg
    broken = draw_relevance_examples(examples(b"no image"))
    assert broken.title == made.title
    assert broken.svg != made.svg
