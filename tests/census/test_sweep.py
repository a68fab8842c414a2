"""A sweep over input sizes: a sink planted above a size is told, and nothing where nothing is."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, Dinov2Config, Dinov2Model

import diysink
from diysink import cli
from diysink.census import Card, Census, compare
from diysink.census.run import SUMS
from diysink.census.sweep import QUANTITIES, sweep_of
from diysink.inspection.output import WORK
from diysink.miniature.weights import path
from tests.census.test_run import picture
from tests.encoders.towers import PROCESSORS, make
from tests.report.test_page import Page

PATCH, SMALL, LARGE, COUNT, DIM = 4, 16, 32, 60, 8
GREEN, UNIT, RISE = 1, 5, 40.0  # the channel of brightness, the unit that reads it, what it adds


def corner(planted):
    """An encoder without positions and with even attention, of which each patch shows one corner.

    All patches have one norm, but that of a bright corner is a little larger. A planted unit fires
    where the corner is bright, and then adds a large norm.
    """
    torch.manual_seed(0)
    config = Dinov2Config(
        image_size=SMALL, patch_size=PATCH, hidden_size=DIM, num_hidden_layers=3,
        num_attention_heads=2, mlp_ratio=2,
    )  # fmt: skip
    model = Dinov2Model(config).eval()
    with torch.no_grad():
        embeddings = model.embeddings
        for weight in (embeddings.position_embeddings, embeddings.cls_token):
            weight.zero_()
        embeddings.cls_token[..., 0] = 4.0
        projection = embeddings.patch_embeddings.projection
        projection.weight.zero_()
        projection.bias.zero_()
        projection.bias[0] = 4.0
        projection.weight[GREEN, :, 0, 0] = 1.0 / 3  # pixels are 0 (dark) or 1 (bright)
        for block in model.encoder.layer:
            attention, mlp = block.attention, block.mlp
            for part in (attention.q_proj, attention.k_proj, attention.o_proj, mlp.fc1, mlp.fc2):
                part.weight.zero_()
                part.bias.zero_()
        if planted:
            mlp = model.encoder.layer[1].mlp
            mlp.fc1.weight[UNIT, GREEN] = 10.0
            mlp.fc2.weight[2, UNIT] = RISE
    return model


def processor():
    """Takes every second pixel for the small size, and all for the large one."""
    return CLIPImageProcessorPil(
        size={"height": SMALL, "width": SMALL}, resample=0, do_center_crop=False,
        do_normalize=False,
    )  # fmt: skip


def pixel_read(size):
    """Which pixels of the large image a patch's corner is, at a size."""
    marks = Image.fromarray(np.arange(LARGE, dtype=np.uint8)[None].repeat(LARGE, 0))
    return np.asarray(marks.resize((size, size), 0))[0, ::PATCH]


def images(*sizes):
    """Black, with one bright pixel each for every size, at another corner that is read there."""
    made = []
    for number in range(COUNT):
        rng = np.random.default_rng((3, number))
        pixels = np.zeros((LARGE, LARGE, 3), dtype=np.uint8)
        for size in sizes:
            row, column = rng.choice(pixel_read(size), 2)
            pixels[row, column] = 255
        pixels[-1, -1, 0] = number  # is never read: all images differ
        made.append(Image.fromarray(pixels))
    return made


def swept(model, pictures, sizes=(SMALL, LARGE), **options):
    return diysink.inspect(
        model, pictures, processor=processor(), sizes=sizes, progress=False, **options
    )


@pytest.fixture(scope="module")
def planted():
    assert not set(pixel_read(SMALL)) & set(pixel_read(LARGE))
    return swept(corner(True), images(LARGE))


def test_a_sink_above_a_size_is_told(planted):
    small, large = planted.plain["sizes"]
    assert planted.is_sweep
    assert planted.plain["layers"]["norms"] in (2, 3)
    assert (small["size"], small["grid"]) == (SMALL, [4, 4])
    assert (large["size"], large["grid"]) == (LARGE, [8, 8])
    assert small["types"] == ["none"]
    assert small["onset"] is None
    assert large["onset"] == 2
    assert not {"none", "attention only"} & set(large["types"])
    limit = 1 - 0.025 ** (1 / planted.plain["images"]["count"])  # all images are alike
    none, each = (one["metrics"]["images_with_sinks"] for one in (small, large))
    assert none == {"value": 0, "low": 0, "high": pytest.approx(limit, rel=1e-5)}
    assert each == {"value": 1, "low": pytest.approx(1 - limit, rel=1e-5), "high": 1}
    assert small["metrics"]["norm_ratio"]["value"] == 1
    assert small["metrics"]["sink_places"] is None
    assert large["metrics"]["sink_places"]["value"] == pytest.approx(1, abs=0.15)


def test_the_norm_is_what_was_planted(planted):
    """Norms: 4 elsewhere; 4, 1 and what the unit adds at the bright corner."""
    normed = torch.nn.functional.layer_norm(torch.tensor([4.0, 1] + [0] * 6), (DIM,), eps=1e-6)
    added = RISE * torch.nn.functional.gelu(10 * normed[GREEN])
    expected = torch.tensor([4.0, 1.0, added]).norm() / 4
    found = planted.plain["sizes"][1]["metrics"]["norm_ratio"]
    assert found["value"] == pytest.approx(float(expected), rel=1e-4)


def test_what_differs_is_told_with_its_interval(planted):
    (found,) = planted.plain["differences"]
    assert (found["first"], found["second"], found["paired"]) == (SMALL, LARGE, True)
    for name in ("images_with_sinks", "norm_ratio"):
        one = found["metrics"][name]
        assert one["differs"]
        assert one["difference"] == pytest.approx(one["second"] - one["first"], rel=1e-5)
        assert one["low"] <= one["difference"] <= one["high"]
    assert not found["metrics"]["concentration"]["differs"]
    assert 0 < found["differ"] < found["of"]
    assert str(SMALL) in planted.lines[0]


@pytest.mark.parametrize(
    ("unit", "sizes", "type"),
    [(False, (SMALL, LARGE), {"none"}), (True, (), {"none"}), (True, (SMALL, LARGE), None)],
    ids=["no unit", "nothing bright", "a sink at both sizes"],
)
def test_the_control_is_silent(unit, sizes, type):
    card = swept(corner(unit), images(*sizes))
    first, second = (set(one["types"]) for one in card.plain["sizes"])
    assert first == second
    assert first == type if type else not {"none", "attention only"} & first
    (found,) = card.plain["differences"]
    assert {"images_with_sinks", "norm_ratio", "concentration"} <= found["metrics"].keys()
    assert not any(one["differs"] for one in found["metrics"].values())
    assert len(card.lines) == 2


def test_differences_are_those_of_paired_replicates(planted):
    for name in QUANTITIES:
        assert planted.replicates[name].shape == (2, 201)
    drawn = np.diff(planted.replicates["norm_ratio"], axis=0)[0]
    found = planted.plain["differences"][0]["metrics"]["norm_ratio"]
    assert found["difference"] == pytest.approx(drawn[0], rel=1e-4)
    assert found["high"] - found["low"] == pytest.approx(
        2 * 1.96 * drawn[1:].std(ddof=1), rel=1e-3, abs=1e-6
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for number in range(12):
        picture(number).save(root / f"{number:02d}.png")
    return root


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    make("dinov2").save_pretrained(folder)
    PROCESSORS["dinov2"]().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def made(dinov2, photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    asked = ["inspect", str(dinov2), str(photos), "--sizes", "48,24", "--out", str(out)]
    assert cli.main(asked) == 0
    return out


def test_each_size_has_its_card_and_all_together_one(made, dinov2, photos):
    assert sorted(p.name for p in made.iterdir()) == [
        "24", "48", "card.json", "index.html", "replicates.safetensors"
    ]  # fmt: skip
    sweep = Card.load(made)
    for one in sweep.plain["sizes"]:
        assert {p.name for p in (made / str(one["size"])).iterdir()} == {
            "card.json", "index.html", "replicates.safetensors"
        }  # fmt: skip
        alone = diysink.inspect(dinov2, photos, sizes=[one["size"]], progress=False)
        assert Card.load(made / str(one["size"])).plain == alone.plain
        assert one["pixels"] == [one["size"]] * 2
    assert "pixels" not in sweep.plain["model"]
    assert sweep.plain["kind"] == "diysink sweep"


def test_the_page_shows_every_size_and_refers_to_nothing_outside(made):
    card = Card.load(made)
    text = (made / "index.html").read_text("utf-8")
    page = Page(text)
    links = [one for one in page.values("href") if not one.startswith(("#", "data:"))]
    assert [one for one in links if "://" not in one] == ["24/index.html", "48/index.html"]
    assert all(one.startswith("https://arxiv.org/") for one in links if "://" in one)
    assert "script" not in page.tags
    for line in card.lines:
        assert line in page.text
    for one in QUANTITIES.values():
        assert one.label in page.text
    assert len(re.findall("<svg", text)) >= 2


def test_text_of_a_card_is_data_to_the_page(made):
    from diysink.census.sweep_page import render_sweep

    plain = json.loads(json.dumps(Card.load(made).plain))
    plain["model"]["name"] = "<script>alert(1)</script>"
    assert "<script" not in render_sweep(plain)


def test_a_stopped_sweep_goes_on_where_it_was(dinov2, photos, tmp_path, monkeypatch, made):
    add, added = Census.add, []

    def stop(census, totals, images):
        if len(added) == 3:
            raise KeyboardInterrupt
        added.append(census.options.size)
        add(census, totals, images)

    options = {"sizes": [24, 48], "out": tmp_path, "batch_size": 6, "save_every": 1}
    options["progress"] = False
    monkeypatch.setattr(Census, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        diysink.inspect(dinov2, photos, **options)
    assert added == [24, 24, 48]
    assert len(list(tmp_path.rglob(SUMS))) == 2
    again = []
    monkeypatch.setattr(
        Census, "add", lambda *args: (again.append(args[0].options.size), add(*args))
    )
    card = diysink.inspect(dinov2, photos, **options)
    assert again == [48]
    assert not list(tmp_path.rglob(WORK))
    expected = Card.load(made).plain
    assert [one["types"] for one in card.plain["sizes"]] == [
        one["types"] for one in expected["sizes"]
    ]


@pytest.mark.parametrize(
    ("family", "sizes", "possible"),
    [("clip", [24, 48], "24 pixels"), ("siglip", [16, 32], "24 pixels"),
     ("dinov2", [4, 24], "8 pixels")],
)  # fmt: skip
def test_sizes_that_cannot_be_taken_are_refused_before_anything_runs(
    family, sizes, possible, monkeypatch
):
    monkeypatch.setattr(Census, "add", None)
    with pytest.raises(ValueError, match=possible) as refused:
        diysink.inspect(
            make(family), [picture(0)], processor=PROCESSORS[family](), sizes=sizes, progress=False
        )
    assert str(next(size for size in sizes if size != 24)) in str(refused.value)


def test_what_is_no_sweep_is_refused(photos):
    with pytest.raises(ValueError, match="two sizes"):
        sweep_of({})
    with pytest.raises(ValueError, match="at least 1"):
        diysink.inspect(path("encoder"), photos, sizes=[0], progress=False)
    with pytest.raises(ValueError, match="at least 1"):
        diysink.inspect(make("dinov2"), photos, processor=PROCESSORS["dinov2"](), sizes=[-8, 24],
                        progress=False)  # fmt: skip
    with pytest.raises(SystemExit):
        cli.main(["inspect", "model", "photos", "--sizes", "large"])


def test_a_sweep_differs_from_itself_in_nothing(made):
    found = compare(Card.load(made), Card.load(made))
    assert found.paired
    assert len(found.table) > 4
    assert not found.table["differs"].any()
    assert set(found.table["part"]) == {"24 x 24 pixels", "48 x 48 pixels"}


def test_sweeps_of_two_patch_sizes_are_compared_by_pixels_and_by_grid(made, photos):
    torch.manual_seed(1)
    fine = Dinov2Model(
        Dinov2Config(image_size=24, patch_size=4, hidden_size=32, num_attention_heads=4,
                     num_hidden_layers=3)
    ).eval()  # fmt: skip
    other = diysink.inspect(
        fine, photos, processor=PROCESSORS["dinov2"](), sizes=[12, 24], progress=False
    )
    found = compare(Card.load(made), other)
    assert set(found.table["part"]) == {"24 x 24 pixels", "3 x 3 patches", "6 x 6 patches"}
    assert found.about["model.patch"] == ([8, 8], [4, 4])
    row = found.table.set_index(["part", "metric"]).loc[("6 x 6 patches", "norm_ratio")]
    assert row["first"] == Card.load(made).plain["sizes"][1]["metrics"]["norm_ratio"]["value"]
    assert row["second"] == other.plain["sizes"][1]["metrics"]["norm_ratio"]["value"]
    with pytest.raises(ValueError, match="sub-folder"):
        compare(Card.load(made), Card.load(made / "24"))
    apart = swept(make("dinov2"), images(LARGE)[:4], (16, 40))
    with pytest.raises(ValueError, match="none is common"):
        compare(Card.load(made), apart)
