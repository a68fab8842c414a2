"""The page in a real browser: clicks and keys, then what the page says."""

import base64
import dataclasses
import hashlib
import re

import pytest

from diysink.census.page import write_page
from tests.census.browser import Browser, chromium

pytestmark = pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def file(card, examples, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(card, examples, path)
    return path


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def page(browser, file):
    browser.open(file)
    browser.wait("document.getElementById('look').dataset.ready === '0'")
    yield browser
    assert browser.complaints == []


def test_begins_with_the_largest_norm_of_the_last_layer_of_the_verdict(page, examples):
    assert page.text("#layer-name") == "3"
    assert page.text("#where") == "Patch at row 2 of 4, column 3 of 5"  # patch 7
    assert page.text("#why") == (
        "A sink. Its norm is 50, 2.5 times tau (20). It is top 1 of 20 by norm. "
        f"It receives {examples[0].received[3, 7]:.3g} times an even share of attention, "
        "top 1 of 20."
    )
    assert page.text("#high") == "50"
    assert "12 (head 1)" in page.text("#facts")
    assert page.text("#sinks") == "row 2, column 3"


def test_a_click_chooses_a_patch(page, examples):
    page.click("#map", x=4.5 / 5, y=3.5 / 4)
    assert page.text("#where") == "Patch at row 4 of 4, column 5 of 5"
    norm = examples[0].norms[3, 19]
    assert page.text("#why").startswith(f"Not a sink. Its norm is {norm:.3g}, below tau (20).")
    states = examples[0].states[3]
    cosines = states @ states[19] / abs((states**2).sum(-1) * (states[19] ** 2).sum()) ** 0.5
    order = [i for i in (-cosines).argsort() if i != 19][:5]
    lines = page.text("#near").splitlines()
    assert len(lines) == 5
    for line, i in zip(lines, order, strict=True):
        assert f"row {i // 5 + 1}, column {i % 5 + 1}" in line
        assert float(line.split()[-1]) == pytest.approx(cosines[i], abs=0.011)


def test_arrow_keys_move_the_patch_and_stop_at_the_edge(page):
    page.run("document.getElementById('map').focus()")
    page.press("ArrowRight")
    page.press("ArrowDown")
    assert page.text("#where") == "Patch at row 3 of 4, column 4 of 5"
    for _ in range(5):
        page.press("ArrowUp")
        page.press("ArrowLeft")
    assert page.text("#where") == "Patch at row 1 of 4, column 1 of 5"
    label = page.run("document.getElementById('map').getAttribute('aria-label')")
    assert "row 1 of 4, column 1 of 5" in label


def test_another_layer_by_key_and_by_a_click_on_a_line(page):
    page.run("document.getElementById('layer').focus()")
    page.press("ArrowLeft")
    page.press("ArrowLeft")
    assert page.text("#map-title") == "Norm, layer 1"
    assert "This layer has no tau" in page.text("#why")
    assert page.text("#sinks") == "None."
    page.click("#norms-layer-2 path")
    assert page.text("#layer-name") == "2"
    assert "2.5 times tau" in page.text("#why")
    marked = "[...document.querySelectorAll('g.now')].map((band) => band.id)"
    assert set(page.run(marked)) >= {"norms-layer-2", "heads-layer-2"}
    assert page.run("document.getElementById('row-2').className") == "mark"


def test_another_quantity(page, examples):
    page.choose("#quantity", "received")
    assert "Attention received" in page.text("#map-title")
    assert page.text("#high") == f"{examples[0].received[3].max():.3g}"
    assert page.run("document.getElementById('head-label').hidden")
    page.choose("#quantity", "head")
    page.choose("#head", "1")
    assert "head 1, layer 3" in page.text("#map-title")
    assert page.text("#high") == "12"
    page.choose("#quantity", "cosine")
    assert page.text("#high") == "1"
    page.click("#norms-layer-0 path")
    assert "No sink in this image" in page.text("#empty")
    page.choose("#quantity", "received")
    assert "no attention" in page.text("#empty")


def test_the_same_colours_at_all_layers(page, examples):
    page.click("#norms-layer-0 path")
    assert page.text("#high") != "50"
    page.click("#fixed")
    assert page.text("#high") == "50"
    assert page.text("#low") == f"{examples[0].norms.min():.3g}"
    page.choose("#quantity", "cosine")
    page.click("#norms-layer-3 path")
    assert (page.text("#low"), page.text("#high")) == ("-1", "1")


def test_where_a_patch_draws_from(page, examples):
    shares = examples[0].relevance[3, 7] / examples[0].relevance[3, 7].sum()
    said = page.text("#draws").replace("\xa0", " ")
    assert float(said.split("gives ")[1].split(" %")[0]) == pytest.approx(100 * shares[7], rel=0.02)
    assert "of 20 cells" in said
    assert "An even share is 5 %" in said


def test_another_image(page):
    page.choose("#example", "1")
    page.wait("document.getElementById('look').dataset.ready === '1'")
    assert page.text("#where") == "Patch at row 3 of 4, column 4 of 5"  # patch 13
    page.click("#near li:first-child button")
    assert page.text("#where") != "Patch at row 3 of 4, column 4 of 5"
    page.click("#sinks button")
    assert page.text("#where") == "Patch at row 3 of 4, column 4 of 5"


def test_everything_is_reached_by_tab_and_its_focus_is_seen(page):
    page.run("document.querySelector('nav a').focus()")
    reached = set()
    for _ in range(80):
        page.press("Tab")
        reached.add(page.run("document.activeElement.id || document.activeElement.tagName"))
        seen = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.run("document.activeElement === document.body") or page.run(seen) != "none"
    assert reached >= {
        "example",
        "quantity",
        "layer",
        "strength",
        "fixed",
        "map",
        "BUTTON",
        "SUMMARY",
    }


@pytest.mark.parametrize("width", [360, 1280])
def test_no_sideways_scrolling(browser, file, width):
    browser.open(file, width=width)
    browser.wait("document.getElementById('look').dataset.ready === '0'")
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    browser.choose("#quantity", "head")
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_asks_for_nothing_but_itself(page, file):
    assert {url for url in page.requests if not url.startswith("data:")} == {file.as_uri()}


def test_text_of_others_stays_text_and_an_unreadable_image_is_left_out(
    browser, card, examples, tmp_path
):
    name = "<img src=x onerror=document.title='run'>.jpg"
    hostile = dataclasses.replace(examples[0], name=name, image=b"no image")
    write_page(
        card | {"verdict": {"lines": [name], "types": []}}, [hostile], tmp_path / "page.html"
    )
    browser.open(tmp_path / "page.html")
    browser.wait("document.getElementById('look').dataset.ready === '0'")
    assert browser.text("#example option") == browser.text(".verdict p") == name
    assert browser.run("document.title") != "run"
    assert browser.run("document.querySelectorAll('img').length") == 2  # both maps' own
    assert browser.run("document.getElementById('image').hidden")
    assert browser.text("#where") == "Patch at row 2 of 4, column 3 of 5"
    assert browser.complaints == []


def test_without_decompression_the_page_says_so(browser, file, tmp_path):
    text = file.read_text("utf-8").replace("DecompressionStream", "AnotherStream")
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)[0].encode()
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    text = re.sub(r"sha256-[^']+", f"sha256-{digest}", text)
    (tmp_path / "page.html").write_text(text, "utf-8")
    browser.open(tmp_path / "page.html")
    browser.wait("!document.getElementById('trouble').hidden")
    assert "too old" in browser.text("#trouble")


def test_prints_on_a_page_with_the_table_open(browser, file):
    browser.open(file, width=720)
    browser.wait("document.getElementById('look').dataset.ready === '0'")
    browser.send("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.run("document.documentElement.scrollWidth") <= 720
        assert browser.run("document.querySelector('table').getBoundingClientRect().height") > 50
        assert (
            browser.run("getComputedStyle(document.getElementById('controls')).display") == "none"
        )
    finally:
        browser.send("Emulation.setEmulatedMedia", media="")
