"""A whole model from end to end: one entrance, a card with a language part, a page, going on."""

import json
import logging

import pandas as pd
import pytest
import torch

import diysink
from diysink import cli
from diysink.architectures import UnsupportedModelError
from diysink.census import Card, compare
from diysink.census.language import QUANTITIES, section
from diysink.census.page import render
from diysink.evaluation.lvlm import load_lvlm
from diysink.inspection import Flow
from diysink.interventions import visual_states
from diysink.model import from_llava
from tests.engine.posted import Posted
from tests.evaluation import lvlms
from tests.inspection.planted import QUESTION, TAU, planted, saved
from tests.report.test_page import Page

IMAGES = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("model"), planted(look=True))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for number in range(IMAGES):
        (root / f"{number:02d}.png").write_bytes(lvlms.picture(number).data)
    return root


@pytest.fixture(scope="module")
def made(folder, photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    arguments = ["inspect", str(folder), str(photos), "--out", str(out), "--answers"]
    assert cli.main([*arguments, "--question", QUESTION, "--tau", str(TAU)]) == 0
    return out


def test_the_card_has_both_parts_and_the_page_shows_them(made):
    card = Card.load(made)
    part = card.plain["language"]
    assert part["version"] == 1
    assert part["lacks"] is None
    assert part["images"]["count"] == card.plain["images"]["count"] == IMAGES
    assert part["images"]["digest"] == card.plain["images"]["digest"]
    assert card.lines[3:] == part["lines"]
    assert len(part["lines"]) == 3
    assert [one["layer"] for one in part["layers"]] == [1, 2, 3]
    for one in (*(layer["metrics"] for layer in part["layers"]), part["overall"]):
        assert set(one) <= set(QUANTITIES)
    page = Page((made / "index.html").read_text("utf-8"))
    for text in ("Language model", QUESTION, *part["lines"], "V-sinks", "norm after the connector"):
        assert text in page.text
    rows = card.replicates["language/last_ratio"]
    assert rows.shape == (3, 201)
    assert rows[1, 0] == pytest.approx(part["layers"][1]["metrics"]["last_ratio"]["value"], 1e-4)


def test_the_encoder_part_is_that_of_the_encoder_alone(made, folder, photos):
    card = Card.load(made).plain
    alone = diysink.inspect(folder, photos, language=False, progress=False).plain
    assert "language" not in alone
    assert card["layers"] == json.loads(json.dumps(alone["layers"]))
    assert card["model"]["digest"] == alone["model"]["digest"]
    assert not compare(Card.load(made), Card(alone, {})).table["differs"].any()


def test_language_models_are_compared_layer_by_layer(made, photos, tmp_path):
    blind = saved(tmp_path, planted(look=False))
    second = diysink.inspect(blind, photos, question=QUESTION, tau=TAU, progress=False)
    found = compare(second, Card.load(made))
    assert found.paired
    rows = found.table[
        (found.table["part"] == "language") & (found.table["metric"] == "last_taken")
    ]
    by_layer = rows.set_index("layer")
    assert by_layer.loc[2, "low"] > 0  # where it was planted
    assert by_layer["difference"][[1, 3]].abs().max() < 1e-4
    same = compare(Card.load(made), Card.load(made)).table
    assert {"language", "connector", "answers", "language, mean of layers"} < set(same["part"])
    assert not same["differs"].any()


def test_numbers_of_the_whole_model_are_compared_with_the_layers(made, photos, tmp_path):
    """Attention to V-sinks is planted in one layer of three, and the mean of layers tells it."""
    blind = saved(tmp_path, planted(look=False))
    asked = {"question": QUESTION, "tau": TAU, "progress": False}
    one = diysink.inspect(blind, photos, answers=True, **asked)
    other = Card.load(made)
    found = compare(one, other)
    rows = found.table.set_index(["part", "metric"])
    mean = rows.loc[("language, mean of layers", "last_taken")]
    layers = rows.loc[("language", "last_taken")]
    assert mean["layer"] is pd.NA
    assert mean["low"] > 0
    assert mean["difference"] == pytest.approx(layers["difference"].mean(), rel=1e-3)
    drawn = (
        other.replicates["language/last_taken/mean"] - one.replicates["language/last_taken/mean"]
    )
    assert mean["error"] == pytest.approx(drawn[0, 1:].std(ddof=1), rel=1e-3)
    connector = rows.loc["connector"]
    assert set(connector.index) == set(one.plain["language"]["connector"])
    assert not connector["differs"].any()  # both have one connector
    answers = rows.loc[("answers", "with_massive")]
    values = [card.plain["language"]["answers"]["with_massive"]["value"] for card in (one, other)]
    assert [answers["first"], answers["second"]] == values
    assert found.left_out == ()


def test_settings_of_language_parts_that_differ_are_named(made, photos, folder):
    second = diysink.inspect(folder, photos, question="b", tau=TAU + 1, progress=False)
    found = compare(Card.load(made), second)
    assert found.about["language.question"] == (QUESTION, "b")
    assert found.about["language.threshold.tau"] == (TAU, TAU + 1)
    assert "answers" not in set(found.table["part"])  # the second card has none


def test_language_models_of_other_encoders_and_depths_are_compared_as_a_whole(made):
    card = Card.load(made)
    plain = json.loads(json.dumps(card.plain))
    plain["layers"] = plain["layers"][:-1]
    plain["language"]["layers"] = plain["language"]["layers"][:-1]
    found = compare(card, Card(plain, card.replicates))
    assert set(found.table["part"]) == {"connector", "answers", "language, mean of layers"}
    assert len(found.left_out) == 2
    assert found.lines[-2:] == list(found.left_out)
    without = {name: part for name, part in plain.items() if name != "language"}
    with pytest.raises(ValueError, match="same number of layers"):
        compare(card, Card(without, {}))


def test_a_number_without_an_interval_never_differs(made):
    """Its cell has no ends, as one of a single image."""
    card = Card.load(made)
    plain = json.loads(json.dumps(card.plain))
    cell = plain["language"]["connector"]["connector_norm_ratio"]
    value = cell["value"] + 5
    for ends, differs in (({"low": None, "high": None}, False),
                          ({"low": value - 0.01, "high": value + 0.01}, True)):  # fmt: skip
        cell |= {"value": value, **ends}
        found = compare(card, Card(plain, {}))
        row = found.table.set_index(["part", "metric"]).loc[("connector", "connector_norm_ratio")]
        assert row["difference"] == pytest.approx(5)
        assert row["differs"] == differs
        told = [line for line in found.lines if line.startswith("connector, connector_norm_ratio")]
        assert len(told) == differs
        assert not any("at layer" in line for line in told)


def test_without_tau_the_threshold_is_the_encoders(folder):
    pictures = [lvlms.picture(number).open() for number in range(lvlms.PICTURES)]
    card = diysink.inspect(folder, pictures, progress=False).plain
    found = card["language"]["threshold"]
    tau = card["layers"][2]["metrics"]["tau"]
    if tau is None:
        assert "1 % of largest norm" in found["says"]
    else:
        assert found["tau"] == tau["value"]
        assert "tau of layer 2" in found["says"]


def test_a_stopped_run_goes_on_to_the_same_card(folder, photos, tmp_path, monkeypatch, made):
    layerwise, seen = Flow.layerwise, []

    def stop(flow, shown, question):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.extend(shown.images)
        return layerwise(flow, shown, question)

    options = {"question": QUESTION, "tau": TAU, "answers": True, "progress": False}
    options["save_every"] = 1
    monkeypatch.setattr(Flow, "layerwise", stop)
    with pytest.raises(KeyboardInterrupt):
        diysink.inspect(folder, photos, out=tmp_path, **options)
    again = []
    monkeypatch.setattr(
        Flow, "layerwise", lambda *args: (again.extend(args[1].images), layerwise(*args))[1]
    )
    card = diysink.inspect(folder, photos, out=tmp_path, **options)
    assert len(again) == IMAGES - 5
    assert not set(again) & set(seen)
    assert card.plain == Card.load(made).plain


def test_workers_measure_the_same(folder, photos, made):
    engine = Posted()
    options = {"question": QUESTION, "tau": TAU, "answers": True, "progress": False}
    card = diysink.inspect(folder, photos, engine=engine, **options)
    assert card.plain == Card.load(made).plain
    assert engine.sent == 1 + IMAGES  # a batch of the encoder, and each image for its answers


def test_workers_measure_an_encoder_inside_its_model(tmp_path, photos):
    folder = lvlms.idefics3(tmp_path)
    options = {"limit": 3, "progress": False}
    engine = Posted()
    card = diysink.inspect(folder, photos, engine=engine, **options)
    assert card.plain == diysink.inspect(folder, photos, **options).plain
    assert engine.sent >= 4


@pytest.mark.parametrize(
    ("options", "said"), [({"layers": [99]}, "layers 0 to"), ({"sizes": [7]}, "takes images of")]
)
def test_options_that_do_not_fit_are_refused_not_passed_over(folder, photos, options, said):
    with pytest.raises(ValueError, match=said):
        diysink.inspect(folder, photos, progress=False, **options)


def test_a_model_that_cannot_be_asked_is_measured_as_far_as_it_goes(tmp_path, photos, caplog):
    folder = lvlms.llava(tmp_path / "base", template=None)
    with caplog.at_level(logging.WARNING):
        card = diysink.inspect(folder, photos, limit=4, out=tmp_path / "out", progress=False)
    assert "no chat template" in card.plain["language"]["lacks"]
    assert "no chat template" in caplog.text
    assert len(card.lines) == 3
    assert "no chat template" in (tmp_path / "out" / "index.html").read_text("utf-8")


def test_an_encoder_inside_its_model_is_measured_there(tmp_path, photos):
    folder = lvlms.idefics3(tmp_path / "model")
    card = diysink.inspect(folder, photos, out=tmp_path / "out", limit=6, progress=False).plain
    lvlm = load_lvlm(folder, dtype=torch.float32)
    largest = []
    for number in range(6):
        states = torch.cat(visual_states(lvlm.model, **lvlm.inputs([lvlms.picture(number)], ["a"])))
        largest.append(states.norm(dim=-1).max())
    last = card["layers"][-1]["metrics"]
    assert last["norm_max"]["value"] == pytest.approx(float(sum(largest) / 6), rel=1e-4)
    assert last["concentration"]["value"] >= 1
    assert "largest_norm_places" not in last
    assert card["language"]["overall"]["last_ratio"]["value"] > 0
    assert (tmp_path / "out" / "index.html").exists()
    with pytest.raises(UnsupportedModelError, match="layers and causes"):
        diysink.inspect(folder, photos, layers=[1], causes=True, progress=False)


def test_a_diysink_model_brings_its_own_threshold(folder, photos, tmp_path):
    made = from_llava(folder, None, connector="single", arrangement="natural")
    made.model.config.tau = TAU
    made.save(tmp_path / "diysink")
    ours = diysink.inspect(tmp_path / "diysink", photos, question=QUESTION, progress=False).plain
    stock = diysink.inspect(folder, photos, question=QUESTION, tau=TAU, progress=False).plain
    assert ours["language"]["threshold"]["tau"] == TAU
    for name, cell in stock["language"]["connector"].items():
        assert ours["language"]["connector"][name] == (cell and pytest.approx(cell, rel=1e-3)), name
    ratio = ours["language"]["layers"][1]["metrics"]["last_ratio"]
    assert ratio["low"] > 3


def test_another_version_of_the_language_part_is_refused(made):
    card = Card.load(made).plain
    other = card | {"language": card["language"] | {"version": 99}}
    with pytest.raises(ValueError, match="version 99"):
        section(other)
    assert section({name: part for name, part in card.items() if name != "language"}) is None
    assert "Language model" not in render(
        {name: part for name, part in card.items() if name != "language"}, []
    )


def test_a_model_in_memory_needs_its_processor(photos):
    with pytest.raises(ValueError, match="its own processor"):
        diysink.inspect(planted(look=False).model, photos, progress=False)
