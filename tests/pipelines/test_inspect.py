"""The stage of the census: a folder with card and page, and the same card as the library's."""

import numpy as np
import pytest

import diysink
from diysink.artifact import read_manifest
from diysink.census import Card
from diysink.miniature.weights import path
from diysink.miniature.world import render, sample_scene
from pipelines.inspect.nodes import inspect_model
from tests.encoders.towers import PROCESSORS, make
from tests.pipelines.test_conf import changed, settings_of

BASE = settings_of("base")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for number in range(12):
        rng = np.random.default_rng(number)
        render(sample_scene(rng), rng).save(root / f"{number}.png")
    return root


def test_the_stage_writes_the_card_of_the_library_and_its_page(images, tmp_path, capsys):
    encoder = str(path("encoder"))
    asked = changed(BASE["inspect"], model=encoder, images=str(images), replicates=20)
    folder = inspect_model(asked, str(tmp_path), "cpu")
    card = Card.load(folder)
    expected = diysink.inspect(encoder, images, replicates=20, progress=False)
    assert card.plain == expected.plain
    assert (folder / "index.html").stat().st_size > 100_000
    assert read_manifest(folder)["kind"] == "census"
    assert {p.name for p in folder.iterdir()} == {
        "card.json", "index.html", "manifest.json", "replicates.safetensors"
    }  # fmt: skip
    assert card.lines[0] in capsys.readouterr().out


def test_the_stage_sweeps_over_sizes(images, tmp_path):
    make("dinov2").save_pretrained(tmp_path / "model")
    PROCESSORS["dinov2"]().save_pretrained(tmp_path / "model")
    asked = changed(
        BASE["inspect"], model=str(tmp_path / "model"), images=str(images), replicates=5,
        sizes=[24, 32],
    )  # fmt: skip
    folder = inspect_model(asked, str(tmp_path), "cpu")
    assert Card.load(folder).is_sweep
    assert Card.load(folder / "32").plain["model"]["grid"] == [4, 4]
    named = set(read_manifest(folder)["files"])
    assert {"card.json", "24/card.json", "32/index.html"} <= named


@pytest.mark.parametrize("missing", ["model", "images"])
def test_what_is_missing_is_named(missing, images, tmp_path):
    given = {"model": "hub/model", "images": str(images)} | {missing: None}
    with pytest.raises(ValueError, match=r"inspect\.model and inspect\.images"):
        inspect_model(changed(BASE["inspect"], **given), str(tmp_path), "cpu")
