"""Maps of encoders that only run inside their model: every patch at its own place."""

import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

import diysink
from diysink.analysis.stock import StockSubject
from diysink.architectures import lvlm_family
from diysink.architectures.patches.image import EncodedImage
from diysink.artifact import digest_bytes
from diysink.census import Options
from diysink.census.heads import heads_of
from diysink.evaluation.lvlm import load_lvlm
from diysink.inspection.grids import patch_side, raster_of
from diysink.inspection.inner import InnerCensus
from diysink.inspection.maps import example_inside
from diysink.interventions.reading import image_arguments, inner_model, read
from diysink.records import ImageFile
from tests.evaluation import lvlms
from tests.interventions import tiny_lvlms
from tests.report.test_page import Page

SIDE = 4  # of a patch in pixels
INSIDE = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v", "mistral3", "llava_pixtral", "idefics3",
          "internvl", "kimi_k25", "gemma4", "lfm2_vl", "ovis2"]  # fmt: skip


def file_of(image):
    held = io.BytesIO()
    image.save(held, "PNG")
    return ImageFile(held.getvalue(), digest_bytes(held.getvalue()), "PNG", *image.size)


def spot(rows, columns, at):
    """Black, but for one patch."""
    pixels = np.zeros((SIDE * rows, SIDE * columns, 3), dtype=np.uint8)
    row, column = at
    pixels[SIDE * row : SIDE * (row + 1), SIDE * column : SIDE * (column + 1)] = 255
    return file_of(Image.fromarray(pixels))


@pytest.fixture(scope="module")
def qwen():
    lvlm = lvlms.qwen()
    processor = lvlm.processor.image_processor
    return InnerCensus(StockSubject(lvlm, tau=float("inf")), processor, Options(replicates=2))


def odd_one(row):
    """The element that is unlike all others."""
    row = row - np.median(row)
    return int(np.abs(row).argmax())


@pytest.mark.parametrize("at", [(0, 0), (1, 0), (0, 1), (2, 3), (3, 5), (1, 4)])
def test_a_patch_of_a_windowed_encoder_is_where_it_is_in_the_picture(qwen, at):
    image = spot(4, 6, at)
    found = example_inside(qwen, "one.png", image, [None] * 3)
    assert found.grid == (4, 6)
    assert odd_one(found.norms[0]) == at[0] * 6 + at[1]
    assert found.relevance is None
    assert found.image == image.data


def test_every_layer_has_attention_also_where_it_is_of_windows(qwen):
    """Windows are of 2 x 2 tokens, of 2 x 2 patches each: even shares are of 16 and 8 patches."""
    image = lvlms.picture(0)  # twice as wide as tall
    found = example_inside(qwen, "one.png", image, [None] * 3)
    assert found.grid == (4, 8)
    assert np.isnan(found.received[0]).all()
    assert np.isfinite(found.received[1:]).all()
    for layer in (1, 2):
        assert found.received[layer].mean() == pytest.approx(1, rel=1e-5)
    halves = found.received[1].reshape(4, 2, 4).mean((0, 2))  # each window takes its own share
    assert halves == pytest.approx([1, 1], rel=1e-5)
    halves = found.received[2].reshape(4, 2, 4).mean((0, 2))
    assert abs(halves - 1).max() > 1e-4


def test_attention_is_that_of_the_whole_block(qwen):
    """The second block attends to all: its rows by hand, put into raster order."""
    image = lvlms.picture(0)
    found = example_inside(qwen, "one.png", image, [None] * 3)
    kept = []

    def look(layer):
        if layer.number == 2:
            (seen,) = layer.attended
            scores = seen.query[0] @ seen.key[0].mT * seen.scaling
            even = scores.softmax(-1).mean(1) * scores.shape[-1]
            kept.append((even, raster_of(layer.tiles[0], layer.arguments, SIDE)[1]))
            torch.testing.assert_close(even, heads_of(seen, None).received[0] * even.shape[1])

    qwen.layers(image, look)
    even, order = kept[0]
    np.testing.assert_allclose(found.received_by_head[2], even[:, order].numpy(), rtol=1e-5)
    assert order.tolist() != list(range(32))


@pytest.mark.parametrize("name", INSIDE)
def test_every_patch_of_every_family_has_one_place(name):
    tiny = tiny_lvlms.build(name)
    inner = inner_model(tiny.model)
    family = lvlm_family(inner.config.model_type)
    arguments = image_arguments(getattr(inner, family.encodes), tiny.inputs)
    with torch.no_grad():
        _, tiles = read(inner, getattr(inner, family.encodes), **arguments)
    config = getattr(inner, family.tower).config
    grid, order = raster_of(tiles[0], arguments, patch_side(config))
    assert grid[0] * grid[1] == len(tiles[0].states)
    assert sorted(order.tolist()) == list(range(len(order)))


def test_where_places_cannot_be_told_nothing_is_shown():
    states = torch.zeros(6, 2)
    tile = EncodedImage(states, torch.arange(6)[:, None], torch.zeros(6, 5))
    assert raster_of(tile, {}, 0) is None
    assert raster_of(tile, {"image_grid_thw": torch.tensor([[1, 2, 4]])}, 0) is None
    assert raster_of(tile, {"image_grid_thw": torch.tensor([[1, 2, 3]])}, 0)[0] == (2, 3)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Qwen2.5-VL in memory, and Idefics3 from its folder, whose images are tiles."""
    made = {}
    out = tmp_path_factory.mktemp("qwen")
    lvlm = lvlms.qwen()
    pictures = [Image.open(io.BytesIO(lvlms.picture(number).data)) for number in range(4)]
    options = {"progress": False, "replicates": 10}
    diysink.inspect(lvlm.model, pictures, processor=lvlm.processor, out=out, **options)
    made["qwen2_5_vl"] = out
    folder = lvlms.idefics3(tmp_path_factory.mktemp("model"))
    out = tmp_path_factory.mktemp("idefics3")
    diysink.inspect(folder, pictures, out=out, **options)
    made["idefics3"] = out
    return made


@pytest.mark.parametrize("family", ["qwen2_5_vl", "idefics3"])
def test_the_page_has_maps_on_the_grid_of_each_image(pages, family):
    text = (pages[family] / "index.html").read_text("utf-8")
    Page(text)
    raw = re.findall(r'<script type="application/json" id="example-\d+">(.*?)</script>', text, re.S)
    examples = [json.loads(one) for one in raw]
    assert len(examples) == 4
    grids = {tuple(one["grid"]) for one in examples}
    if family == "qwen2_5_vl":
        assert grids == {(4, 4), (4, 8)}
        assert all(one["image"] for one in examples)
    else:
        assert grids == {(4, 4)}
        assert "tile 1 of" in text
    for one in examples:
        assert one["relevance"] is None
        assert one["norms"]["shape"][1] == one["grid"][0] * one["grid"][1]
    assert "register neurons" in text


def test_tiles_are_shown_as_the_encoder_sees_them(tmp_path):
    lvlm = load_lvlm(lvlms.idefics3(tmp_path), dtype=torch.float32)
    processor = lvlm.processor.image_processor
    inner = InnerCensus(StockSubject(lvlm, tau=float("inf")), processor, Options(replicates=2))
    found = example_inside(inner, "wide.png", lvlms.picture(0), [None] * (len(inner.blocks) + 1))
    assert Image.open(io.BytesIO(found.image)).size == (16, 16)
    assert found.received.shape == found.norms.shape
