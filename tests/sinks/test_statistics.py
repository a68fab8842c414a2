"""Statistics count what is there, and adding them is exact in any order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diysink.artifact import BrokenFileError
from diysink.sinks import Layout, NonFiniteError, Statistics, measure, patch_contrast, total
from diysink.sinks.statistics import SCALE, bootstrap_weights
from tests.sinks.populations import LAYOUT, TOKENS, at_random, count, names, states, two_modes


def test_by_hand():
    layout = Layout(1, 4, 2, replicates=3)
    hidden = torch.tensor([[[60.0, 80.0], [0.0, 10.0], [10.0, 0.0], [0.0, 10.0]]])
    attention = torch.tensor([[2.5, 0.5, 0.75, 0.25]])
    contrast = torch.tensor([[0.0, 2.0, 1.0, 1.0]])
    tables = measure(layout, hidden, attention, contrast, ["one"]).tables
    high, low = layout.nearest_edge(100.0), int(layout.bins(torch.tensor(10.0)))
    assert tables["images"][0] == 1
    assert (tables["norms"][0, high], tables["norms"][0, low]) == (1, 3)
    assert tables["norms"][0].sum() == 4
    assert tables["attention"][0, [low, high]].tolist() == [1.5 * SCALE, 2.5 * SCALE]
    assert tables["contrast"][0, [low, high]].tolist() == [4 * SCALE, 0]
    assert tables["positions"][[low, high]].tolist() == [[0, 1, 1, 1], [1, 0, 0, 0]]
    energy = tables["energy"][[low, high]] / SCALE
    torch.testing.assert_close(energy, torch.tensor([[1.0, 2.0], [0.36, 0.64]]), atol=1e-6, rtol=0)
    # one image: 4 tokens at or above low, 1 above it, none above high
    assert tables["counts"][[low, low + 1, high, high + 1]].argmax(1).tolist() == [4, 1, 1, 0]
    assert tables["counts"].sum(1).unique().tolist() == [1]
    assert tables["drops"][0].nonzero().item() == layout.nearest_edge(1000**0.5)  # 100 over 10
    assert tables["massive"].sum() == 0
    weights = bootstrap_weights(["one"], 3, 0)[0]
    assert torch.equal(tables["norms"][:, high], weights)
    assert torch.equal(tables["attention"][:, low], (1.5 * SCALE * weights).long())


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_any_split_in_any_order_gives_the_same_digest(random, parts):
    norms = two_modes(at_random(12))
    hidden, attention = states(norms), norms.sqrt()
    index = list(range(12))
    random.shuffle(index)
    pieces = [index[part::parts] for part in range(parts)]
    counted = [
        measure(LAYOUT, hidden[p], attention[p], attention[p] / 2, [names(12)[i] for i in p])
        for p in pieces
    ]
    whole = measure(LAYOUT, hidden, attention, attention / 2, names(12))
    assert total(counted, LAYOUT).digest == whole.digest


def test_digests_differ_where_anything_differs():
    norms = two_modes(at_random(4))
    other = norms.clone()
    other[0, 0] *= 2
    assert count(norms).digest != count(other).digest
    assert count(norms).digest != count(norms, attention=norms).digest


def test_images_by_sinks_as_counted_one_by_one():
    norms = two_modes(at_random(40, sinks=5))
    tables = count(norms).tables
    for edge in (10, 150, 175, 190):
        found = (norms >= float(LAYOUT.edges[edge])).sum(1)
        assert torch.equal(tables["counts"][edge][: TOKENS + 1], found.bincount(minlength=37))


def test_bootstrap_weights_are_poisson_and_belong_to_the_image():
    weights = bootstrap_weights(names(2000), 50, 0)
    assert torch.equal(weights[:, 0], torch.ones(2000, dtype=torch.int64))
    drawn = weights[:, 1:].double()
    assert abs(drawn.mean() - 1) < 0.02
    assert abs(drawn.var() - 1) < 0.03
    assert abs((drawn == 0).double().mean() - np.exp(-1)) < 0.01
    again = bootstrap_weights(["other", "image-7"], 50, 0)
    assert torch.equal(again[1], weights[7])
    assert not torch.equal(bootstrap_weights(["image-7"], 50, 1)[0], weights[7])


def test_saved_and_loaded(tmp_path):
    statistics = count(two_modes(at_random(5)))
    statistics.save(tmp_path / "statistics.safetensors")
    loaded = Statistics.load(tmp_path / "statistics.safetensors")
    assert (loaded.digest, loaded.layout) == (statistics.digest, statistics.layout)
    assert loaded.images == 5


def test_different_grids_are_not_added():
    with pytest.raises(ValueError, match="different grids cannot be added"):
        Statistics.empty(LAYOUT) + Statistics.empty(Layout(6, 6, 8, anchor=50.0))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_stops(value):
    hidden = states(two_modes(at_random(3)))
    hidden[1, 5, 2] = value
    even = torch.ones(3, TOKENS)
    with pytest.raises(NonFiniteError, match=r"on 1 of 3 images \(the first is image-1\)"):
        measure(LAYOUT, hidden, even, even, names(3))


def test_another_size_of_picture_stops():
    even = torch.ones(1, 35)
    with pytest.raises(ValueError, match="does not fit a grid of 6 x 6"):
        measure(LAYOUT, torch.ones(1, 35, 8), even, even, names(1))


def test_contrast_by_hand():
    pixels = torch.zeros(2, 1, 4, 8)
    pixels[0, 0, :, :2] = 2.0  # the left patch: half 2, half 0: standard deviation 1
    assert patch_contrast(pixels, 1, 2).tolist() == [[2.0, 0.0], [1.0, 1.0]]


def test_statistics_without_a_table_are_refused(tmp_path):
    tables = dict(count(two_modes(at_random(2))).tables)
    del tables["octaves"]
    Statistics(LAYOUT, tables).save(tmp_path / "statistics.safetensors")
    with pytest.raises(BrokenFileError, match="another version"):
        Statistics.load(tmp_path / "statistics.safetensors")
