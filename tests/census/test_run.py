"""A census from end to end: what is planted is told, what is absent is not, nothing is lost."""

import json
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import diysink
from diysink import cli
from diysink.artifact import BrokenFileError
from diysink.census import QUANTITIES, Card, Census, Options, read_images
from diysink.census.run import SUMS
from diysink.encoders import CheckpointError, Encoder, load_encoder, stock_image_processor
from diysink.inspection.run import WORK
from diysink.miniature.weights import path
from diysink.miniature.world import render, sample_scene
from diysink.records import SourceError
from tests.encoders.towers import PROCESSORS, make
from tests.engine.posted import Posted

COUNT = 48


def picture(number):
    rng = np.random.default_rng((7, number))
    return render(sample_scene(rng), rng)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for number in range(COUNT):
        picture(number).save(root / f"{number:03d}.png")
    return root


@pytest.fixture(scope="module")
def cards(folder):
    return {
        name: diysink.inspect(path(name), folder, progress=False) for name in ("encoder", "control")
    }


def test_the_induced_sinks_are_told_and_the_control_has_none(cards):
    found = cards["encoder"].plain["verdict"]
    assert found["types"][0]["type"] == "background"
    assert 3 in found["types"][0]["layers"]
    assert found["onset"] is not None
    layer = cards["encoder"].plain["layers"][3]["metrics"]
    assert 2 < layer["sinks_per_image"]["value"] < 4
    assert layer["norm_max"]["value"] > 3 * layer["norm_median"]["value"]
    assert layer["largest_norm_contrast"]["high"] < 1
    control = cards["control"].plain["verdict"]
    assert control["onset"] is None
    assert not {"background", "object", "fixed place"} & {one["type"] for one in control["types"]}
    assert len(found["lines"]) == len(control["lines"]) == 3


def test_every_value_has_its_interval(cards):
    for one in cards["encoder"].plain["layers"]:
        assert set(one["metrics"]) <= set(QUANTITIES)
        for name, cell in one["metrics"].items():
            if cell is not None and name != "tau":
                assert cell["low"] <= cell["value"] <= cell["high"], name
    assert "concentration" not in cards["encoder"].plain["layers"][0]["metrics"]
    known = set(QUANTITIES) - {"received_register"}  # CLIP has none
    assert set(cards["encoder"].plain["layers"][2]["metrics"]) == known


def test_a_card_is_read_as_it_was_written(cards, tmp_path):
    cards["encoder"].save(tmp_path)
    for place in (tmp_path, tmp_path / "card.json"):
        read = Card.load(place)
        assert read.plain == cards["encoder"].plain
        assert read.replicates.keys() == cards["encoder"].replicates.keys()
    (tmp_path / "card.json").write_text(json.dumps(read.plain | {"version": 99}))
    with pytest.raises(BrokenFileError, match="version 99"):
        Card.load(tmp_path)
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(BrokenFileError, match="not the card"):
        Card.load(tmp_path)


def test_a_stopped_census_goes_on_to_the_same_card(folder, tmp_path, monkeypatch, cards):
    add, added = Census.add, []

    def stop(census, totals, images):
        if len(added) == 2:
            raise KeyboardInterrupt
        added.append(len(images))
        add(census, totals, images)

    monkeypatch.setattr(Census, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        diysink.inspect(path("encoder"), folder, out=tmp_path, save_every=1, progress=False)
    assert list(tmp_path.rglob(SUMS))
    again = []
    monkeypatch.setattr(Census, "add", lambda *args: (again.append(len(args[2])), add(*args)))
    card = diysink.inspect(path("encoder"), folder, out=tmp_path, progress=False)
    assert again == [16]
    assert card.plain == cards["encoder"].plain
    assert not (tmp_path / WORK).exists()


def test_workers_measure_the_same_in_any_order(folder, cards):
    engine = Posted()
    card = diysink.inspect(path("encoder"), folder, engine=engine, progress=False)
    assert engine.sent == 3
    assert card.plain == cards["encoder"].plain
    assert card.replicates.keys() == cards["encoder"].replicates.keys()
    for name, rows in card.replicates.items():
        np.testing.assert_array_equal(rows, cards["encoder"].replicates[name])


def test_units_are_chosen_before_workers_need_them(folder, cards):
    """Four images at a time: the first four batches choose, the others measure."""
    options = {"batch_size": 4, "progress": False}
    engine = Posted()
    card = diysink.inspect(path("encoder"), folder, engine=engine, **options)
    assert engine.sent == 12
    assert card.plain == diysink.inspect(path("encoder"), folder, **options).plain
    for layer, other in zip(card.plain["layers"], cards["encoder"].plain["layers"], strict=True):
        cells = [one["metrics"].get("neuron_ratio") for one in (layer, other)]
        assert (cells[0] is None) == (cells[1] is None)
        if cells[0] is not None:  # the units are those of the first sixteen images
            assert cells[0]["value"] == pytest.approx(cells[1]["value"], rel=2e-3)


def test_a_model_in_memory_is_not_sent_to_workers(folder):
    tower, processor = make("siglip"), PROCESSORS["siglip"]()
    with pytest.raises(ValueError, match="memory alone"):
        diysink.inspect(tower, folder, processor=processor, engine=Posted(), progress=False)


def test_sums_of_other_images_are_not_gone_on_with(folder, tmp_path, monkeypatch):
    encoder = load_encoder(path("encoder"), layer=-1)
    census = Census(encoder, stock_image_processor(path("encoder")), Options(limit=16))
    first = census.run(folder, tmp_path)
    others = [picture(number) for number in range(100, 116)]
    other = census.run(others, tmp_path)
    assert first.plain["images"]["digest"] != other.plain["images"]["digest"]
    assert other.plain == census.run(others).plain
    assert first.plain == census.run(folder, tmp_path).plain


def test_a_folder_a_table_and_a_list_are_the_same_images(folder, tmp_path, cards):
    names = sorted(folder.iterdir())
    table = tmp_path / "images.parquet"
    pd.DataFrame({"id": [one.name for one in names], "image": [one.read_bytes() for one in names]}
                 ).to_parquet(table)  # fmt: skip
    for images in (table, names, [one.read_bytes() for one in names]):
        found = [item[1].sha256 for item in read_images(images)]
        assert found == [item[1].sha256 for item in read_images(folder)]
    model = load_encoder(path("encoder"), layer=-1)
    assert len(list(read_images([Image.open(names[0])]))) == 1
    assert model.name == cards["encoder"].plain["model"]["name"]


def test_the_size_of_batches_changes_no_number(folder, cards):
    one = diysink.inspect(path("encoder"), folder, batch_size=7, progress=False)
    for layer, expected in zip(one.plain["layers"], cards["encoder"].plain["layers"], strict=True):
        for name, cell in expected["metrics"].items():
            if cell is not None:
                assert layer["metrics"][name] == pytest.approx(cell, rel=2e-3, abs=1e-5), name


def test_some_layers(folder, cards):
    one = diysink.inspect(path("encoder"), folder, layers=[0, -2], progress=False)
    assert [layer["layer"] for layer in one.plain["layers"]] == [0, 3]
    assert one.plain["layers"][1] == cards["encoder"].plain["layers"][3]
    with pytest.raises(ValueError, match="layers 0 to 4"):
        diysink.inspect(path("encoder"), folder, layers=[9], progress=False)


@pytest.mark.parametrize("family", ["siglip", "dinov2_with_registers"])
def test_a_model_in_memory(family, folder):
    card = diysink.inspect(
        make(family), folder, processor=PROCESSORS[family](), limit=4, progress=False
    )
    assert card.plain["model"]["family"] == family
    prefix = {"siglip": [], "dinov2_with_registers": ["class"] + ["register"] * 4}[family]
    assert card.plain["model"]["prefix"] == prefix
    assert card.plain["images"]["count"] == 4


@pytest.mark.parametrize("family", ["beit", "dinov2"])
def test_a_model_can_be_trained_after_its_census(family):
    """What a model caches for the whole process is no tensor of inference mode."""
    model, pixels = make(family), torch.randn(1, 3, 24, 24)
    diysink.inspect(
        model, [picture(0)], processor=PROCESSORS[family](), causes=True, progress=False
    )
    model.requires_grad_(True)
    Encoder.of(model, -1)(pixels).sum().backward()
    assert next(model.parameters()).grad is not None


def test_the_size_of_the_images():
    processor = stock_image_processor(path("encoder"))
    model = make("dinov2")
    images = [picture(0), picture(1)]
    for side in (24, 48):
        card = diysink.inspect(model, images, processor=processor, sizes=[side], progress=False)
        assert card.plain["model"]["pixels"] == [side, side]
        assert card.plain["model"]["grid"] == [side // 8] * 2


def test_the_same_card_differs_from_itself_in_nothing(cards):
    found = diysink.compare(cards["encoder"], cards["encoder"])
    assert found.paired
    assert not found.table["differs"].any()
    assert (found.table["difference"] == 0).all()
    assert found.about == {}


@pytest.mark.parametrize("paired", [True, False])
def test_two_encoders_differ_where_sinks_were_induced(cards, paired):
    first, second = cards["control"], cards["encoder"]
    if not paired:
        first = Card(first.plain, {})
    found = diysink.compare(first, second)
    assert found.paired is paired
    told = found.table[found.table["differs"]].set_index(["layer", "metric"])
    row = told.loc[(3, "norm_max")]
    assert set(told["part"]) == {"encoder"}
    assert row["low"] > 10
    assert row["difference"] == pytest.approx(row["second"] - row["first"])
    assert "model.digest" in found.about


def test_of_the_same_images_the_error_is_that_of_paired_replicates(cards):
    first, second = cards["control"], cards["encoder"]
    row = diysink.compare(first, second).table.set_index(["layer", "metric"]).loc[(3, "norm_p99")]
    drawn = second.replicates["norm_p99"][3, 1:] - first.replicates["norm_p99"][3, 1:]
    assert row["error"] == pytest.approx(np.std(drawn, ddof=1))
    assert row["high"] - row["difference"] == pytest.approx(1.96 * row["error"], rel=1e-4)


def test_cards_of_other_layers_are_refused(cards, folder):
    short = diysink.inspect(make("clip"), [picture(0)], processor=PROCESSORS["clip"](),
                            layers=[1], progress=False)  # fmt: skip
    with pytest.raises(ValueError, match="same number of layers"):
        diysink.compare(cards["encoder"], short)


def file(image):
    held = BytesIO()
    image.save(held, "PNG")
    return held.getvalue()


def test_what_cannot_be_measured_is_named_and_the_rest_is_measured():
    images = [
        picture(0),
        b"no image",
        file(Image.new("RGB", (10_000, 20))),
        file(Image.new("RGB", (4, 4))),
        "not/there.png",
        Image.new("RGB", (64, 64)),
    ]
    card = diysink.inspect(path("encoder"), images, progress=False)
    assert card.plain["images"]["count"] == 2
    assert card.plain["images"]["left_out"] == 4
    named = card.plain["images"]["left_out_names"]
    assert [name.split(":")[0] for name in named] == ["image 1", "image 2", "image 3",
                                                     "not/there.png"]  # fmt: skip


@pytest.mark.parametrize("images", [[Image.new("RGB", (64, 64))], [Image.new("RGB", (64, 64))] * 3])
def test_black_images_and_one_image(images):
    card = diysink.inspect(path("encoder"), images, progress=False)
    assert card.plain["images"]["count"] == len(images)
    assert card.plain["layers"][3]["metrics"]["same_sinks"] is None or len(images) > 1
    assert len(card.lines) == 3


def test_no_image_at_all(tmp_path):
    with pytest.raises(SourceError, match="no image"):
        diysink.inspect(path("encoder"), tmp_path, progress=False)
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(SourceError, match=r"notes\.txt"):
        diysink.inspect(path("encoder"), tmp_path, progress=False)
    with pytest.raises(SourceError):
        diysink.inspect(path("encoder"), tmp_path / "nothing", progress=False)


def test_what_is_no_vision_encoder_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="llama"):
        diysink.inspect(path("language"), folder, progress=False)
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="ONNX"):
        diysink.inspect(tmp_path, folder, progress=False)


def test_infinite_states_stop_the_census(folder):
    model = make("vit")
    with torch.no_grad():
        model.base_model.layers[1].layernorm_before.weight.fill_(torch.inf)
    with pytest.raises(ValueError, match="infinite or undefined"):
        diysink.inspect(model, folder, processor=PROCESSORS["vit"](), progress=False)


def test_the_command(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["inspect", str(path("encoder")), str(folder), "--limit", "16",
                     "--out", str(out)]) == 0  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines[-4:-1] == Card.load(out).lines
    table = tmp_path / "table.csv"
    assert cli.main(["compare", str(out), str(out), "--out", str(table)]) == 0
    assert not pd.read_csv(table)["differs"].any()
    assert cli.main(["inspect", str(tmp_path / "nothing"), str(folder)]) == 2
    assert "no folder" in capsys.readouterr().err
    assert cli.main([]) == 2
