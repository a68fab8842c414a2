import base64
import dataclasses
import json
import re
import zlib

import numpy as np
import pytest

from diysink.census.examples import Example
from diysink.census.packing import pack_example, pack_mask, pack_positive, pack_signed
from diysink.census.page import layer_ranges, render, write_page
from diysink.census.quantities import QUANTITIES, names_in
from diysink.census.trajectories import draw_trajectories
from tests.census.made import make_card, make_example
from tests.report.test_page import Page

HOSTILE = "</script><img src=x onerror=alert(1)>'\"&.jpg"


@pytest.fixture(scope="module")
def text(card, examples):
    return render(card, examples)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def unpack(packed):
    """As maps.js does it."""
    kind = {"float": "<f4", "mask": "u1", "positive": "u1", "signed": "i1"}[packed["code"]]
    data = zlib.decompress(base64.b64decode(packed["data"]))
    values = np.frombuffer(data, kind).reshape(packed["shape"])
    if "scale" not in packed:
        return values
    scale = np.frombuffer(zlib.decompress(base64.b64decode(packed["scale"])), "<f4")
    scale = scale.reshape(packed["shape"][:-1])[..., None]
    return scale * ((values / 255.0) ** 2 if packed["code"] == "positive" else values / 127.0)


def test_the_verdict_comes_first_then_the_types(card, page):
    places = [page.text.index(line) for line in card["verdict"]["lines"]]
    places += [page.text.index(one) for one in card["verdict"]["types"][0]["evidence"]]
    assert places == sorted(places)
    assert places[-1] < page.text.index("nearest tokens")
    assert "layers 2–3" in page.text


def test_all_numbers_are_in_the_table(card, page):
    body = page.text[page.text.index("All numbers") :]
    assert "[14.9, 17.2]" not in body
    for cell in (
        "1.5",
        "80",
        "[74.4, 86.4]",
        "60\N{NO-BREAK SPACE}%",
        "0.41",
        "another number",
        "1,234",
        "–",
    ):
        assert cell in body
    assert page.tags.count("tr") == 1 + len(card["layers"])


def test_every_known_number_is_explained(card, page):
    for name in names_in(card["layers"]):
        if name in QUANTITIES:
            assert QUANTITIES[name].how in page.text
            assert QUANTITIES[name].source in page.text
    assert "This page does not know this number." in page.text


def test_the_card_can_be_downloaded(card, page):
    (link,) = [v for v in page.values("href") if v.startswith("data:application/json")]
    assert json.loads(base64.b64decode(link.split(",")[1])) == card
    assert "census-tiny.json" in page.values("download")


def test_refers_to_nothing_outside_but_papers(page):
    links = [v for v in page.values("href", "src", "action", "srcset") if not v.startswith("#")]
    assert links
    assert all(v.startswith(("data:", "https://arxiv.org/abs/")) for v in links)
    assert "url(" not in page.text.replace("url(#", "")


def test_names_of_images_cannot_become_markup(card, examples):
    hostile = dataclasses.replace(examples[0], name=HOSTILE)
    other = card | {"model": card["model"] | {"name": HOSTILE}}
    text = render(other, [hostile])
    page = Page(text)
    assert "</script><img" not in text
    assert not page.values("onerror")
    assert page.tags.count("script") == 3  # facts, one example, the script
    assert HOSTILE in page.text


def test_only_its_own_script_may_run(text):
    import hashlib

    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'\"" in text


def test_a_card_with_little_in_it():
    card = make_card()
    card["verdict"]["types"] = [{"type": "new kind", "layers": [], "evidence": []}]
    for layer in card["layers"]:
        layer["metrics"] = {"norm_max": None}
    page = Page(render(card, []))
    for words in ("new kind", "no layer", "No example images were given", "Nothing was measured"):
        assert words in page.text


def test_an_interval_may_be_missing():
    card = make_card()
    for layer in card["layers"]:
        layer["metrics"] = {"norm_max": {"value": 3.25, "low": None, "high": None}}
    assert "3.25" in Page(render(card, [])).text
    assert len(draw_trajectories(card)) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda card: card.update(version=2), "version 2"),
        (lambda card: card["layers"].pop(1), "expected 0, 1, 2"),
        (lambda card: card["layers"].pop(), "4 layers"),
        (lambda card: card["model"].update(heads=3), "2 heads"),
        (lambda card: card["images"].update(count=float("nan")), "JSON compliant"),
    ],
)
def test_a_card_that_does_not_fit_is_refused_and_nothing_is_written(
    change, words, examples, tmp_path
):
    card = make_card()
    change(card)
    with pytest.raises(ValueError, match=words):
        write_page(card, examples, tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_whole(card, examples, text, tmp_path):
    write_page(card, examples, tmp_path / "folder" / "page.html")
    assert (tmp_path / "folder" / "page.html").read_text("utf-8") == text
    assert len(list((tmp_path / "folder").iterdir())) == 1


def test_packing_keeps_what_the_page_shows(examples):
    example = examples[0]
    packed = pack_example(example)
    assert np.array_equal(unpack(packed["norms"]), example.norms)
    assert np.array_equal(unpack(packed["sinks"]), example.sinks)
    assert np.isnan(unpack(packed["received"])[0]).all()
    for name in ("received_by_head", "relevance"):
        given, kept = getattr(example, name), unpack(packed[name])
        largest = given.max(-1, keepdims=True)
        assert np.array_equal(np.isnan(kept), np.isnan(given))
        assert np.nanmax(np.abs(kept - given) / largest) < 0.004
    states, kept = example.states, unpack(packed["states"])
    norm = np.linalg.norm(states, axis=-1) * np.linalg.norm(kept, axis=-1)
    assert ((states * kept).sum(-1) / norm).min() > 0.999
    # A number a hundredth of the largest still has its first digit.
    small = unpack(pack_positive(np.array([[1.0, 0.01]])))
    assert small[0, 1] == pytest.approx(0.01, rel=0.05)
    assert (unpack(pack_signed(np.zeros((2, 3)))) == 0).all()
    assert pack_mask(np.ones((1, 2), dtype=bool))["shape"] == [1, 2]


def test_numbers_beside_nan_are_refused():
    with pytest.raises(ValueError, match="beside numbers"):
        pack_positive(np.array([[1.0, np.nan]]))


def test_an_image_that_does_not_decode_is_left_out(examples):
    assert pack_example(dataclasses.replace(examples[0], image=b"no image"))["image"] is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"grid": (4, 4)}, r"\(4, 20\)"),
        ({"cells": (17, 1)}, "1 to 16"),
        ({"cells": (2, 5)}, "relevance has the shape"),
        ({"norms": np.full((4, 20), np.nan)}, "norms holds NaN"),
        ({"relevance": np.full((4, 20, 20), -1.0)}, "negative"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Example(**{**vars(make_example()), **changes})


def test_lines_over_the_layers(card):
    drawings = draw_trajectories(card)
    assert len(drawings) == 8
    for drawing in drawings:
        assert len(set(re.findall(r'id="\w+-layer-(\d+)"', drawing.svg))) == len(card["layers"])
    ids = [i for drawing in drawings for i in re.findall(r'\bid="([^"]+)"', drawing.svg)]
    assert len(ids) == len(set(ids))
    assert drawings[0].title == "At layer 2 the largest norm is 17.3 times the median"


def test_layers_in_words():
    assert layer_ranges([5, 3, 4, 9]) == "layers 3–5, 9"


def test_eight_examples_of_a_real_size_stay_below_ten_megabytes():
    sizes = {"layers": 13, "heads": 12, "grid": (16, 16), "sinks_from": 7}
    example = make_example(cells=(16, 16), kept=32, **sizes)
    one = len(render(make_card(**sizes), [example])) - len(render(make_card(**sizes), []))
    assert 8 * one < 9e6  # noise: real relevance is smoother, and packs better
