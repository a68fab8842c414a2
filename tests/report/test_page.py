import dataclasses
import html
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from diysink.analysis import ANALYSES
from diysink.claims import size
from diysink.report import Inputs, render
from diysink.report.sections import sheet
from tests.report.conftest import make_results
from tests.report.test_figures import make_trials

VOID = {"meta", "br", "img", "link", "input", "hr"}
SECTIONS = (
    "claims", "results", "differences", "sinks", "attention", "choices",
    "training", "data", "provenance", *ANALYSES,
)  # fmt: skip


class Page(HTMLParser):
    """Checks that tags nest, and notes what a page refers to."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def values(self, *names):
        return [value for _, name, value in self.attributes if name in names]


@pytest.fixture(scope="module")
def text(inputs):
    return render(inputs)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_has_every_section_with_something_in_it(page, text):
    for section in SECTIONS:
        assert f'<h2 id="{section}">' in text
    missing = ("not run", "not measured", "were given", "No timings", "Nothing was", "No selection")
    assert not any(words in page.text for words in missing)


def test_the_verdict_comes_first(inputs, page):
    first = page.text.index(inputs.results["verdict"][0])
    assert first < page.text.index("Results")
    for sentence in inputs.results["verdict"]:
        assert sentence in page.text


def test_intervals_say_what_they_are_over(inputs, page, text):
    once = "<small>one training</small>"
    assert "intervals over trainings and images" in page.text  # two training seeds
    assert once not in text
    one_seed = make_results(inputs.predictions[inputs.predictions["seed"] == 0])
    single = render(dataclasses.replace(inputs, results=one_seed))
    assert "intervals over trainings and images" not in Page(single).text
    apart = [row["group"] for row in one_seed["comparisons"] if row["separate"]]
    assert single.count(once) == len(apart) + apart.count("all") > 0  # both tables
    row = next(row for row in inputs.results["comparisons"] if row["group"] == "all")
    assert f"{100 * row['training_low']:+.1f}, {100 * row['training_high']:+.1f}" in page.text


def test_claims_come_before_results_each_with_its_parts(inputs, page, text):
    assert text.index('<h2 id="claims">') < text.index('<h2 id="results">')
    claims, parts = inputs.tables["claim_verdicts"], inputs.tables["claim_parts"]
    for row in claims.to_dict("records"):
        assert row["claim"] in page.text
        assert row["paper"] in page.text
        assert row["basis"] in page.text
        assert row["why_built_in"] in page.text
        assert f'<details id="claim-{row["number"]}">' in text
    for part in parts.to_dict("records"):
        assert part["part"] in page.text
    assert "partly built in" in page.text


def test_the_first_screen_says_once_of_each_claim_what_was_found(inputs):
    claims = inputs.tables["claim_verdicts"].copy()
    claims.loc[claims["number"] == 10, ["verdict", "finding"]] = "undecided", "one training"
    claims.loc[claims["number"] == 5, ["verdict", "finding"]] = "refuted", "contrary"
    tables = {**inputs.tables, "claim_verdicts": claims}
    text = render(dataclasses.replace(inputs, tables=tables))
    found = re.search(r'<section class="overview".*?</section>', text, flags=re.DOTALL)[0]
    assert text.index(found) < text.index("<nav")
    shown, refuted, undecided = re.findall(r"<p>(.*?)</p>", found)
    assert all(name in shown for name in claims.loc[claims["verdict"] == "shown", "name"])
    assert claims.set_index("number").loc[5, "name"] in refuted
    assert claims.set_index("number").loc[10, "name"] in undecided
    assert all(found.count(name) == 1 for name in claims["name"])
    assert text.count('<span class="badge undecided">? undecided</span>') == 1
    assert text.count('<span class="badge refuted">✗ refuted</span>') == 1
    assert text.count('<span class="badge shown">✓ shown</span>') == 10


def test_what_the_design_detects_stands_beside_each_part(inputs, page):
    parts = inputs.tables["claim_parts"].dropna(subset="detectable")
    assert "smallest true effect" in page.text
    for part in parts.to_dict("records"):
        assert size(part, "detectable") in page.text


def test_robustness_names_what_turns(page):
    assert "1 of 2 conclusions turn somewhere (with tau: attention)" in page.text
    assert "intervals over 30 to 40 images" in page.text


def test_tables_stand_under_their_section(inputs, page, text):
    assert "Table: attention" in page.text
    total = len(inputs.analyses["attention"])
    assert f"The first 60 of {total} rows" in page.text


def test_says_induced_where_it_is_and_only_there(inputs, page):
    assert "Induced sinks: this is a model organism, no evidence" in page.text
    assert page.text.index("Induced sinks") < page.text.index(inputs.results["verdict"][0])
    other = Page(render(dataclasses.replace(inputs, induced=False)))
    assert "model organism" not in other.text


def test_tells_what_wrong_routes_cost(text):
    for share in ("95.0 [90.0, 99.0]", "75.0 [70.0, 80.0]", "85.0 [80.0, 88.0]"):
        assert share in text
    assert "+12.5 [-1.0, +25.0]" in text


def test_asks_for_nothing_outside_itself(page, text):
    assert not {"script", "iframe", "object", "embed", "link", "base", "form"} & set(page.tags)
    for value in page.values("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
        assert value.startswith(("#", "data:image/png;base64,", "data:image/jpeg;base64,"))
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []
    assert any("default-src 'none'" in value for value in page.values("content"))


def test_inner_names_are_unique_and_found(page):
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    pointed = [value[1:] for value in page.values("href", "xlink:href") if value.startswith("#")]
    for _, _, value in page.attributes:
        pointed += re.findall(r"url\(#([^)]+)\)", value)
    assert set(pointed) <= set(ids)


def test_figures_take_the_page_s_colours_and_letters(text):
    svgs = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)).lower()
    for colour in ("#1b1f24", "#5b6570", "#d9dee3", "#d55e00", "#0072b2", "#009e73", "#a87900"):
        assert colour not in svgs
    assert "dejavu" not in svgs
    assert "var(--ink)" in svgs
    used = set(re.findall(r"var\((--[a-z-]+)\)", text))
    light, dark = text.split("prefers-color-scheme: dark")[:2]
    assert used <= set(re.findall(r"(--[a-z-]+):", light))
    assert used - {"--font"} <= set(re.findall(r"(--[a-z-]+):", dark.split("* {")[0]))


def test_every_figure_has_a_title_a_caption_and_a_name_for_screen_readers(page, text):
    figures = re.findall(r"<figure>\s*<figcaption>.*?</figure>", text, flags=re.DOTALL)
    assert len(figures) == 11
    for figure in figures:
        title = re.search(r"<strong>(.*?)</strong>", figure)[1]
        assert f'aria-label="{title}"' in figure
        assert 'class="quiet"' in figure


def test_the_same_inputs_make_the_same_page(inputs, text):
    assert render(inputs) == text


def test_is_small_enough_to_send(text):
    assert len(text) < 600_000


def test_shows_results_alone_and_says_what_is_missing(inputs):
    page = Page(render(Inputs(title="Bare", results=inputs.results)))
    for words in (
        "No sink measurements were given", "No example images were given",
        "No selection chose",
        "No training curves were given",
        "No validation summary was given", "No timings", "no git revision",
        "The claims were not judged", "Robustness was not looked at",
        *(f"Not in this run: {name}_analysis" for name in ANALYSES),
    ):  # fmt: skip
        assert words in page.text


# What a run may lack by itself, and what then stands without the table it goes with.
LACKING = [
    ("predictions", "sink_evidence", "sink_examples"),
    ("sink_histogram", "registration", "validation"),
    ("sink_verdicts",),
]


@pytest.mark.parametrize("names", LACKING)
@pytest.mark.parametrize("empty", [False, True])
def test_can_do_without_some(inputs, names, empty):
    """Missing, or a table without a row, as a stage leaves that was told to do nothing."""
    gone = pd.DataFrame() if empty else None
    tables = {name: gone if name in names else table for name, table in inputs.tables.items()}
    lacking = {name: None for name in names if name in ("registration", "validation")}
    lacking |= {"predictions": gone} if "predictions" in names else {}
    Page(render(dataclasses.replace(inputs, **lacking, tables=tables, curves={})))


NASTY = "<script>alert(\"1\")</script><img src=x onerror=alert(2)> $\\frac{1}{2}$ & 'quoted'"


def nasty(table):
    """What a table says in words that only the page reads, with markup in it."""
    names = {"part", "claim", "name", "basis", "paper", "wanted", "group", "sets"} & set(
        table.columns
    )
    return table.assign(**dict.fromkeys(names, NASTY))


def test_data_stay_data(inputs):
    """Names, questions and answers of others: shown as they are, never run or interpreted."""
    predictions = inputs.predictions.assign(
        question=NASTY, prediction=lambda p: p["prediction"] + NASTY, group=NASTY
    )
    results = dict(inputs.results)
    results["accuracy"] = [
        {**row, "group": NASTY if row["group"] == "global" else row["group"]}
        for row in results["accuracy"]
    ]
    results["comparisons"] = [
        {**row, "variant": NASTY if row["variant"] == "dual" else row["variant"]}
        for row in results["comparisons"]
    ]
    results["verdict"] = [NASTY]
    of_sinks = [table for table in inputs.tables if table.startswith("sink_")]
    tables = {name: t if name in of_sinks else nasty(t) for name, t in inputs.tables.items()}
    tables |= {name: tables[name].replace("induced", NASTY) for name in of_sinks}
    tables["sink_evidence"] = tables["sink_evidence"].assign(says=NASTY)
    tables["sink_examples"] = tables["sink_examples"].assign(id=NASTY, encoder=NASTY)
    page = Page(
        render(
            dataclasses.replace(
                inputs, title=NASTY, results=results, predictions=predictions,
                tables=tables,
                analyses={name: t.replace("local", NASTY) for name, t in inputs.analyses.items()},
                curves={"align": inputs.curves["align"].assign(unit=f"{NASTY}/seed0")},
                parameters={NASTY: {NASTY: NASTY}},
                digests={NASTY: NASTY},
            )
        )
    )  # fmt: skip
    assert not {"script", "img"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(NASTY) > 20
    assert html.escape(NASTY) not in page.text  # escaped once, not twice


def test_an_image_that_does_not_decode_is_told(inputs):
    examples = inputs.tables["sink_examples"]
    broken = examples.assign(image=[b"not an image"] * len(examples))
    tables = {**inputs.tables, "sink_examples": broken}
    page = Page(render(dataclasses.replace(inputs, tables=tables)))
    assert page.text.count("not readable") == len(broken)


def test_a_table_is_shown_without_its_lists_and_files():
    table = pd.DataFrame({"value": [1.0, 2.0], "map": [None, [0.5, 0.5]], "file": [None, b"png"]})
    shown = sheet("relevance", table)
    assert shown.columns == ["value"]
    assert shown.rows == [[1.0], [2.0]]


def test_a_search_is_shown_where_there_was_one(inputs, text):
    assert 'id="search"' not in text
    pair = {"best": 0.9, "default": 0.85, "difference": 0.05, "low": -0.01, "high": 0.11}
    found = {"variant": "dual", "trials": 3, "best": {"values": {"x": 0.1, "selector.kind": "b"}}}
    counts = {"items": 40, "images": 20}
    study = found | {"search": pair | counts, "confirm": None}
    searched = dataclasses.replace(
        inputs,
        tables={**inputs.tables, "tuning_trials": make_trials()},
        tuning={"split": "held", "studies": {"s": study}},
    )
    page = Page(shown := render(searched))
    assert 'href="#search"' in shown
    assert "+5.0[-1.0, +11.0]" in page.text
    assert "not kept apart" in page.text
    assert page.tags.count("svg") == Page(text).tags.count("svg") + 3
    confirmed = {"s": study | {"confirm": pair | {"low": 0.02, "items": 38, "images": 19}}}
    again = render(dataclasses.replace(searched, tuning={"split": "held", "studies": confirmed}))
    assert "+5.0[+2.0, +11.0]" in Page(again).text
