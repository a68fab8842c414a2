"""The console command on folders as anybody saves them: a model, its image processor, images."""

import json

import numpy as np
import pytest
from PIL import Image

from diysink import cli
from diysink.census import Card
from diysink.census.quantities import QUANTITIES
from tests.encoders.towers import MAKERS, PROCESSORS, WHOLE
from tests.report.test_page import Page

MAPS = ["norm", "received", "head", "cosine"]
STOCK = {"clip": WHOLE["clip"], "siglip": WHOLE["siglip"], "dinov2": MAKERS["dinov2"]}
PREFIX = {"clip": ["class"], "siglip": [], "dinov2": ["class"]}


def photo(number, width, height):
    """A slope of colours with a plain disc and some noise."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:height, :width] / max(width, height)
    pixels = 255 * np.stack([rows, columns, 1 - rows], -1) + rng.normal(0, 12, (height, width, 3))
    row, column = rng.uniform(0.2, 0.8, 2)
    disc = (rows - row) ** 2 + (columns - column) ** 2 < 0.02
    pixels[disc] = rng.integers(0, 255, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for family, maker in STOCK.items():
        folder = made[family] = tmp_path_factory.mktemp(family)
        maker().eval().save_pretrained(folder)
        PROCESSORS[family]().save_pretrained(folder)
        written = {file.name for file in folder.iterdir()}
        assert written == {"config.json", "model.safetensors", "preprocessor_config.json"}
    return made


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    (root / "more").mkdir()
    for number, (width, height) in enumerate([(90, 60), (60, 90), (64, 64), (200, 31)]):
        photo(number, width, height).save(root / f"{number}.jpg")
    photo(9, 50, 40).convert("L").save(root / "more" / "grey.png")
    return root


def run(folder, images, out):
    return cli.main(["inspect", str(folder), str(images), "--out", str(out)])


@pytest.mark.parametrize("family", STOCK)
def test_a_stock_folder_gives_card_and_page(folders, photos, tmp_path, family, capsys):
    assert run(folders[family], photos, tmp_path) == 0
    card = Card.load(tmp_path)
    assert capsys.readouterr().out.splitlines()[-4:-1] == card.lines
    model = card.plain["model"]
    assert (model["family"], model["layers"], model["grid"]) == (family, 4, [3, 3])
    assert model["prefix"] == PREFIX[family]
    assert card.plain["images"]["count"] == 5
    assert card.plain["images"]["left_out"] == 0
    last = card.plain["layers"][-1]["metrics"]
    absent = {"received_register", "neuron_ratio", "neuron_ratio_random"}  # needs 17 images
    absent |= set() if PREFIX[family] else {"received_class"}
    assert set(last) == set(QUANTITIES) - absent
    page = Page((tmp_path / "index.html").read_text("utf-8"))
    options = [value for tag, name, value in page.attributes if (tag, name) == ("option", "value")]
    assert [one for one in options if not one.isdigit()] == MAPS
    for name in ("0.jpg", "1.jpg", "2.jpg", "3.jpg", "more/grey.png", *card.lines):
        assert name in page.text


def save(folder, *images):
    folder.mkdir()
    for number, image in enumerate(images):
        image.save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("images", "measured"),
    [
        ([photo(0, 40, 40)], 1),
        ([Image.new("RGB", (40, 40))] * 4, 4),
        ([photo(n, 12, 9) for n in range(3)], 3),  # fewer pixels than the encoder takes
        ([photo(0, 40, 40), Image.new("RGB", (10_000, 20)), Image.new("RGB", (5, 5))], 1),
    ],
    ids=["one image", "black images", "small images", "a thin and a tiny one"],
)
@pytest.mark.parametrize("family", ["clip", "siglip"])  # with a class token and without one
def test_odd_images_give_a_card_and_a_page(folders, tmp_path, family, images, measured):
    out = tmp_path / "out"
    assert run(folders[family], save(tmp_path / "images", *images), out) == 0
    plain = json.loads((out / "card.json").read_text(), parse_constant=pytest.fail)  # no NaN
    assert plain["images"]["count"] == measured
    assert plain["images"]["left_out"] == len(images) - measured
    assert plain["verdict"]["onset"] is None
    Page((out / "index.html").read_text("utf-8"))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([], "no image"),
        ([Image.new("RGB", (10_000, 20))], "10000"),
        ([Image.new("RGB", (5, 5))], "no image to measure"),
    ],
    ids=["empty", "thin", "tiny"],
)
def test_a_folder_without_an_image_to_measure_is_said_in_one_line(
    folders, tmp_path, images, said, capsys
):
    out = tmp_path / "out"
    assert run(folders["clip"], save(tmp_path / "images", *images), out) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("diysink: ")
    assert said in error
    assert not (out / "card.json").exists()
