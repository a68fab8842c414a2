"""The prepare stage: what passes is published, what does not stops the run and says why."""

import json
import re
import socket
from html import escape
from html.parser import HTMLParser
from io import BytesIO
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner
from PIL import Image

from diysink.artifact import BrokenFolderError, digest_file, read_manifest, write_manifest
from diysink.records import GROUPS, ImageFile, ImageLimits, Record, Records, Turn, write_shards
from pipelines.ending import holding
from pipelines.prepare import create_pipeline
from pipelines.prepare.nodes import (
    InvalidRecordsError,
    admit_records,
    check_records,
    generate_records,
    take_in_records,
)
from pipelines.prepare.pages import without_controls
from pipelines.prepare.settings import Prepare, SplitPaths

# Great Expectations' imports warn of Python's own deprecations.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CONF = Path(__file__).parents[2] / "conf"
HOSTILE = "<img src=x onerror=alert(1)>"


def parameters(environment: str) -> dict[str, Any]:
    path = CONF / environment / "parameters_prepare.yml"
    return yaml.safe_load(path.read_text())["prepare"]


def small(**changes: Any) -> dict[str, Any]:
    """The stage's parameters as the test environment gives them, with changes."""
    return parameters("base") | parameters("test") | changes


def catalog(home: Path, prepare: dict[str, Any]) -> DataCatalog:
    config = yaml.safe_load((CONF / "base/catalog_prepare.yml").read_text())
    for entry in config.values():
        entry["filepath"] = str(home / entry["filepath"])
    given = {
        "params:prepare": Prepare.model_validate(prepare),
        "params:seed": 0,
        "params:workspace": str(home / "work"),
    }
    datasets = DataCatalog.from_config(config)
    for name, value in given.items():
        datasets[name] = value
    return datasets


def run(home: Path, prepare: dict[str, Any]) -> DataCatalog:
    datasets = catalog(home, prepare)
    SequentialRunner().run(create_pipeline(), datasets)
    return datasets


def user_data(home: Path, items: list[Any]) -> dict[str, Any]:
    """Parameters for a user's data set of these items, which may use ``red.png``."""
    (home / "images").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), "red").save(home / "images/red.png")
    (home / "data.json").write_text(json.dumps(items))
    paths = {"records": str(home / "data.json"), "images": str(home / "images")}
    return small(splits={"train": paths})


def item(identity: str, image: str = "red.png") -> dict[str, Any]:
    turns = [{"from": "human", "value": "<image>\nhi"}, {"from": "gpt", "value": "ho"}]
    return {"id": identity, "image": image, "conversations": turns}


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    """The stage as the test environment runs it, once, with every connection refused."""

    def refuse(*_: Any) -> None:
        raise AssertionError("something asked for a connection")

    home = tmp_path_factory.mktemp("miniature")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        return home, run(home, small())


def test_the_miniature_comes_in_by_the_users_door(miniature):
    home, datasets = miniature
    records = datasets["records"].load()
    assert records == home / "data/03_primary/records"
    sizes = {name: len(Records(records / name)) for name in parameters("test")["generate"]}
    assert sizes == {"train": 64, "align": 128, "validation": 18, "test": 72, "reweight": 24}
    first = Records(records / "train")[0]
    raw = json.loads((home / "data/01_raw/miniature/train.json").read_text())[0]
    assert [(t.speaker, t.text) for t in first.conversations] == [
        (turn["from"], turn["value"]) for turn in raw["conversations"]
    ]
    file = home / "data/01_raw/miniature/images" / raw["image"]
    assert first.images[0].sha256 == digest_file(file)
    groups = [record.group for record in Records(records / "reweight")]
    assert {group: groups.count(group) for group in GROUPS} == dict.fromkeys(GROUPS, 8)


def test_a_clean_run_says_so(miniature):
    home, datasets = miniature
    validation = datasets["validation"].load()
    assert validation["passed"]
    assert all(rule["passed"] and not rule["failed"] for rule in validation["rules"])
    assert validation["splits"]["test"] == {"items": 72, "records": 72, "quarantined": 0}
    quarantine = datasets["quarantine"].load()
    assert list(quarantine.columns) == ["split", "index", "id", "reason", "detail"]
    assert quarantine.empty
    read_manifest(home / "data/03_primary/records", thorough=True)


def test_twice_the_same_to_the_byte(miniature, tmp_path):
    home, _ = miniature
    run(tmp_path, small(workers=1))
    for name in ("01_raw/miniature", "03_primary/records", "08_reporting/data_docs"):
        first, second = (read_manifest(folder / "data" / name) for folder in (home, tmp_path))
        assert first["files"] == second["files"]
    for name in ("02_intermediate/quarantine.parquet", "08_reporting/validation.json"):
        assert digest_file(home / "data" / name) == digest_file(tmp_path / "data" / name)


def test_pages_read_offline(miniature):
    home, _ = miniature
    pages = list((home / "data/08_reporting/data_docs").rglob("*.html"))
    assert len(pages) > 20
    remote = re.compile(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|url\(\s*["']?(?:https?:)?//""")
    for page in pages:
        text = page.read_text()
        assert not remote.search(text), page
        assert "<script" not in text
        for link in re.findall(r'href="([^"#]+\.html)"', text):
            target = page.parent / link.replace("%20", " ")
            assert target.is_file(), f"{page} links to {link}"
    index = (home / "data/08_reporting/data_docs/index.html").read_text()
    for rule in json.loads((home / "data/08_reporting/validation.json").read_text())["rules"]:
        assert rule["rule"].replace("'", "&#x27;") in index


class _Controls(HTMLParser):
    """What of a page a reader could press or a browser would run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in ("script", "button", "input", "select", "form", "iframe", "object", "embed"):
            self.found.append(tag)
        self.found += [name for name in values if name.startswith(("on", "data-"))]
        self.found += [v for v in values.values() if "javascript:" in v.lower()]
        self.found += [v for v in values.get("class", "").split() if v.startswith("btn")]


def controls(page: str) -> list[str]:
    reader = _Controls()
    reader.feed(page)
    return reader.found


def test_no_control_of_a_removed_script_remains(miniature, broken):
    home, _ = miniature
    pages = [*(home / "data/08_reporting/data_docs").rglob("*.html"), *broken[2].rglob("*.html")]
    for page in pages:
        text = page.read_text()
        assert controls(text) == [], page
        assert "onclick" not in text
        assert "Failed Only" not in text
        assert text.count("<table") == text.count("</table>") > 0
        assert text.count("<div") == text.count("</div>")
    # What the pages are for is still there.
    text = "".join(page.read_text() for page in broken[2].rglob("validations/**/*.html"))
    assert "Table of Contents" in text
    assert "twice" in text
    assert "newsletter" not in text


@pytest.mark.parametrize(
    ("page", "left"),
    [
        ("<p>a &lt;b&gt; &#39; &amp; c</p>", "<p>a &lt;b&gt; &#39; &amp; c</p>"),
        ("<p onclick='x()' id=a>b</p>", '<p id="a">b</p>'),
        ("<div><button>x<b>y</b></button>z</div>", "<div>z</div>"),
        ("<a href='javascript:x()'>b</a>", "<a>b</a>"),
        ("<a href=' JavaScript:x()'>b</a>", "<a>b</a>"),
        ("<a href='https://a.b/c'>b</a>", "<a>b</a>"),
        ("<a href='//a.b/c'>b</a>", "<a>b</a>"),
        ("<a href='c.html#d'>b</a>", '<a href="c.html#d">b</a>'),
        ("<img src=https://a.b/c>d", "d"),
        ("<script>if (a < b) '</p>'</script>c", "c"),
        ("<div class='btn-group x'><div>a</div></div>b", "b"),
        ("<div class='card mb-3'>a</div><div class='card'>b</div>", '<div class="card">b</div>'),
        ("<input type=radio checked>a", "a"),
        ('<p title="&quot;&gt;">a</p>', '<p title="&quot;&gt;">a</p>'),
        ("<!DOCTYPE html><br/>a", "<!DOCTYPE html><br>a"),
    ],
)
def test_what_is_taken_out_of_a_page(page, left):
    assert without_controls(page) == left


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Shards in which every rule is broken, written past the checks of the intake."""
    folder = tmp_path_factory.mktemp("broken")

    def picture(colour: str, size: tuple[int, int] = (16, 16)) -> ImageFile:
        file = BytesIO()
        Image.new("RGB", size, colour).save(file, "PNG")
        return ImageFile.of(file.getvalue(), ImageLimits(min_side=1, max_aspect=1000.0))

    def record(identity: str, answer: str = "a", **changes: Any) -> Record:
        values = {
            "images": (picture("red"),),
            "conversations": (Turn("human", "<image>q"), Turn("gpt", answer)),
            "group": "global",
        }
        return Record(identity, **(values | changes))

    ask, answer = record("x").conversations
    red = picture("red")
    rotten = ImageFile(red.data[:40], red.sha256, "PNG", 16, 16)
    large, narrow = picture("red", (200, 200)), picture("red", (8, 900))
    train = [
        *(record("twice") for _ in range(2)),
        record(""),
        *(record(f"empty-{n}", answer=" ") for n in range(7)),
        record("order", conversations=(answer, ask)),
        record("cut", conversations=(ask,)),
        record("none", conversations=(Turn("human", "q"), answer)),
        record("lokal", group=HOSTILE),
        record(HOSTILE, images=(rotten,)),
        record("large", images=(large,)),
        record("narrow", images=(narrow,)),
        record("tiny", images=(picture("red", (2, 2)),)),
    ]
    blue = [record(f"blue-{n}", images=(picture("blue"),)) for n in range(9)]
    test = [*blue, record("shared"), record("local", images=(picture("green"),), group="local")]
    write_shards(folder / "train", train)
    write_shards(folder / "test", test)
    counts = {"train": {"items": 200, "records": 18}, "test": {"items": 11, "records": 11}}
    write_manifest(folder, kind="splits", splits=counts)
    quarantine = pd.DataFrame(
        [("train", n, f"id-{n}", "missing_file", f"'{n}.png' is not there") for n in range(182)],
        columns=["split", "index", "id", "reason", "detail"],
    )
    bounds = {"min_side": 8, "max_pixels": 20_000, "max_aspect": 100.0}
    options = small(image=bounds, min_group_share={"test": 0.1})
    work = tmp_path_factory.mktemp("work")
    validation, docs = check_records(folder, quarantine, Prepare.model_validate(options), str(work))
    return folder, validation, docs


def test_messages_hold_plain_numbers(broken):
    _, validation, _ = broken
    texts = [text for rule in validation["rules"] for text in rule["examples"]]
    assert not [text for text in texts if "np." in text or "float64" in text or "int64" in text]
    (groups,) = (rule for rule in validation["rules"] if rule["table"] == "test groups")
    assert "id='mixed', share=0.0" in groups["examples"]


@pytest.mark.parametrize(
    ("table", "rule", "failed", "example"),
    [
        ("train records", "ids are present", 1, ""),
        ("train records", "ids are unique", 2, "id='twice'"),
        ("train records", "turns alternate, human first, gpt last", 2, "'order'"),
        ("train records", "one placeholder an image", 1, "'none'"),
        ("train records", "answers are not empty", 7, "id='empty-0'"),
        ("train records", "groups are known or absent", 1, "'lokal'"),
        ("train images", "images decode from the shards", 1, "broken_image"),
        ("train images", "no side is too short", 1, "'tiny'"),
        ("train images", "no image is too large", 1, "'large'"),
        ("train images", "no image is too narrow", 1, "'narrow'"),
        ("test images", "no image is shared with another split", 1, "id='shared'"),
        ("test groups", "every group has at least 10% of the labelled records", 2, "id='local'"),
        ("quarantine", "at most 1.00% of a split's items are quarantined", 1, "'0.png' is not"),
    ],
)
def test_every_rule_can_fail(broken, table, rule, failed, example):
    _, validation, _ = broken
    (found,) = (r for r in validation["rules"] if (r["table"], r["rule"]) == (table, rule))
    assert not found["passed"]
    assert found["failed"] == failed
    assert len(found["examples"]) == (5 if table == "quarantine" else min(failed, 5))
    assert any(example in each for each in found["examples"])


def test_only_these_rules_fail(broken):
    _, validation, _ = broken
    assert not validation["passed"]
    assert sum(not rule["passed"] for rule in validation["rules"]) == 13


def test_the_run_stops_with_rule_count_and_five_examples(broken):
    folder, validation, _ = broken
    with pytest.raises(InvalidRecordsError) as caught:
        admit_records(folder, validation)
    message = str(caught.value)
    line = next(line for line in message.splitlines() if "answers are not empty" in line)
    assert "train records" in line
    assert "7 of 1" in line
    assert len(re.findall(r"empty-\d", line)) == 5
    assert "data_docs" in message


def test_a_users_text_is_not_markup_on_the_pages(broken):
    _, _, docs = broken
    pages = [page.read_text() for page in docs.rglob("*.html")]
    assert not any("<img src=x" in page for page in pages)


def test_quarantine_beyond_the_limit_publishes_nothing_and_keeps_the_evidence(tmp_path):
    items = [item(f"good-{n}") for n in range(10)] + [item("bad", "none.png")]
    prepare = user_data(tmp_path, items)
    with pytest.raises(InvalidRecordsError, match=r"quarantined: 1 of 1 fail.*none\.png"):
        run(tmp_path, prepare)
    datasets = catalog(tmp_path, prepare)
    assert not datasets["records"].exists()
    assert datasets["quarantine"].load()["reason"].tolist() == ["missing_file"]
    assert not datasets["validation"].load()["passed"]
    assert datasets["data_docs"].exists()
    run(tmp_path, prepare | {"quarantine_limit": 0.1})
    assert len(Records(datasets["records"].load() / "train")) == 10
    assert list((tmp_path / "data/01_raw/miniature").iterdir()) == [
        tmp_path / "data/01_raw/miniature/manifest.json"  # own data: nothing was generated
    ]


def test_a_folder_of_pictures_is_enough(tmp_path):
    user_data(tmp_path, [])
    prepare = small(splits={"train": {"images": str(tmp_path / "images")}})
    records = Records(run(tmp_path, prepare)["records"].load() / "train")
    assert [(r.id, len(r.images), r.conversations) for r in records] == [("red.png", 1, ())]


def grouped(home: Path, groups: list[str | None], split: str = "test") -> dict[str, Any]:
    """Parameters for a user's split of these groups, in the test environment's manner."""
    items = [item(f"id-{n}") | {"group": group} for n, group in enumerate(groups)]
    prepare = user_data(home, items)
    return prepare | {"splits": {split: prepare["splits"]["train"]}}


@pytest.mark.parametrize("split", ["test", "validation", "reweight", "train"])
@pytest.mark.parametrize("groups", [["local"] * 6, ["local"] * 5 + ["global"], ["mixed", None]])
def test_own_data_of_one_group_are_a_warning(tmp_path, caplog, split, groups):
    prepare = grouped(tmp_path, groups, split)
    validation = run(tmp_path, prepare)["validation"].load()
    assert validation["passed"]
    (warning,) = validation["warnings"]
    assert warning.startswith(f"{split}: ")
    assert f"prepare.min_group_share.{split}" in warning
    assert warning in [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    index = (tmp_path / "data/08_reporting/data_docs/index.html").read_text()
    assert escape(warning) in index


def test_own_data_with_even_groups_or_none_are_no_warning(tmp_path):
    for number, groups in enumerate((list(GROUPS) * 2, [None] * 3)):
        prepare = grouped(tmp_path / str(number), groups)
        validation = run(tmp_path / str(number), prepare)["validation"].load()
        assert (validation["passed"], validation["warnings"]) == (True, [])


def test_a_rule_on_groups_that_the_user_asks_for_stops_the_run(tmp_path):
    prepare = grouped(tmp_path, ["local"] * 6) | {"min_group_share": {"test": 0.2}}
    with pytest.raises(InvalidRecordsError, match="every group has at least 20%"):
        run(tmp_path, prepare)
    assert catalog(tmp_path, prepare)["validation"].load()["warnings"] == []


def test_the_miniatures_questions_have_the_rule_without_being_asked():
    options = Prepare.model_validate(parameters("base"))
    assert options.group_shares == {"validation": 0.2, "test": 0.2, "reweight": 0.2}
    own = Prepare.model_validate(parameters("base") | {"splits": {"test": {"images": "x"}}})
    assert own.group_shares == {}


def test_images_behind_links_into_an_allowed_root(tmp_path):
    prepare = user_data(tmp_path, [item("a"), item("b", "linked.png")])
    cache = tmp_path / "cache/files/md5/ab"
    cache.mkdir(parents=True)
    (tmp_path / "images/red.png").rename(cache / "cdef")
    for name in ("red.png", "linked.png"):
        (tmp_path / "images" / name).symlink_to(cache / "cdef")
    with pytest.raises(InvalidRecordsError, match=r"link_outside.*allowed_roots"):
        run(tmp_path, prepare)
    prepare["splits"]["train"]["allowed_roots"] = [str(tmp_path / "cache")]
    records = Records(run(tmp_path, prepare)["records"].load() / "train")
    assert [r.id for r in records] == ["a", "b"]


def test_a_damaged_candidate_is_named(tmp_path):
    prepare = Prepare.model_validate(user_data(tmp_path, [item("a")]))
    raw = generate_records(prepare, 0, str(tmp_path / "work"))
    candidates, quarantine = take_in_records(raw, prepare, str(tmp_path / "work"))
    part = candidates / "train/part-00000.parquet"
    data = bytearray(part.read_bytes())
    at = data.index(b"what colour") if b"what colour" in data else data.index(b"<image>")
    data[at] ^= 1
    part.write_bytes(data)
    with pytest.raises(BrokenFolderError, match="part-00000"):
        check_records(candidates, quarantine, prepare, str(tmp_path / "work"))
    # Taken in once more, the shard is written again: what is damaged is not trusted.
    again, _ = take_in_records(raw, prepare, str(tmp_path / "work"))
    assert [r.id for r in Records(again / "train")] == ["a"]


def loky_workers() -> list[str]:
    return [each.name for each in active_children() if each.name.startswith("Loky")]


def test_workers_end_with_the_run(tmp_path):
    """Whoever is left idle makes a process that ran this wait for minutes at its end."""
    given = user_data(tmp_path, [item("a")]) | {"workers": 2}
    prepare = Prepare.model_validate(given)
    raw = generate_records(prepare, 0, str(tmp_path / "work"))
    with holding():
        candidates, _ = take_in_records(raw, prepare, str(tmp_path / "work"))
        assert loky_workers()
    assert not loky_workers()
    assert [record.id for record in Records(candidates / "train")] == ["a"]


def test_a_killed_generation_goes_on(tmp_path, monkeypatch):
    from diysink.miniature import llava

    made = []

    def write_split(folder, name, write=llava.write_split, **options):
        made.append(name)
        if name == "test" and len(made) < 5:
            raise KeyboardInterrupt
        return write(folder, name, **options)

    monkeypatch.setattr(llava, "write_split", write_split)
    names = list(small()["generate"])
    with pytest.raises(KeyboardInterrupt):
        generate_records(Prepare.model_validate(small()), 0, str(tmp_path))
    raw = generate_records(Prepare.model_validate(small()), 0, str(tmp_path))
    assert made == [*names[: names.index("test") + 1], *names[names.index("test") :]]
    candidates, quarantine = take_in_records(raw, Prepare.model_validate(small()), str(tmp_path))
    assert read_manifest(candidates)["splits"]["test"] == {"items": 72, "records": 72}
    assert quarantine.empty


@pytest.mark.parametrize("environment", ["base", "test"])
def test_the_shipped_parameters_are_read(environment):
    options = Prepare.model_validate(parameters("base") | parameters(environment))
    assert options.generated
    if environment == "base":
        assert set(parameters("base")) == set(Prepare.model_fields)
        assert options.image == ImageLimits()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_group_share": {"test": 0.5}}, "less than or equal to 0.33"),
        ({"generate": None}, "nothing to prepare"),
        ({"splits": {"train": None}, "generate": {"train": None}}, "nothing to prepare"),
    ],
)
def test_wrong_parameters_stop_before_the_work(changes, message):
    with pytest.raises(ValueError, match=message):
        Prepare.model_validate(small(**changes))


def test_own_splits_take_the_miniatures_place():
    options = Prepare.model_validate(small(splits={"train": {"images": "x"}, "test": None}))
    assert not options.generated
    assert options.splits == {"train": SplitPaths(images="x")}
    for roots, expected in ((None, ()), (["/a"], ("/a",))):
        split = {"images": "x", "allowed_roots": roots}
        assert (
            Prepare.model_validate(small(splits={"train": split})).splits["train"].allowed_roots
            == expected
        )
