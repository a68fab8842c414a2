"""Published data sets, in small: hand-made samples in their schemas become records.

The keys and columns are those of the data sets; texts and images are made up.
"""

import hashlib
import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diysink.artifact import Workspace
from diysink.records import READERS, Reason, Records, SourceError, open_source, take_in
from diysink.records.cache import url_name
from diysink.records.fill_cache import fill_cache

POINTS = pa.list_(pa.struct([("x", pa.float64()), ("y", pa.float64())]))
SCHEMAS = {
    "pixmo-cap": pa.schema(
        [
            ("image_url", pa.string()),
            ("caption", pa.string()),
            ("transcripts", pa.list_(pa.string())),
        ]
    ),
    "pixmo-ask-model-anything": pa.schema(
        [(name, pa.string()) for name in ("image_url", "image_sha256", "question", "answer")]
    ),
    "pixmo-cap-qa": pa.schema(
        [
            *((name, pa.string()) for name in ("image_url", "question", "answer")),
            ("messages", pa.list_(pa.string())),
        ]
    ),
    "pixmo-count": pa.schema(
        [
            ("image_url", pa.string()),
            ("image_sha256", pa.string()),
            ("count", pa.int32()),
            ("points", POINTS),
            ("label", pa.string()),
        ]
    ),
}
URL = "https://example.org/a%20b.jpg?size=large"


@pytest.fixture
def taken(tmp_path, picture):
    """Takes items of a format in; ``red.png`` and the cached image of URL are there."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "red.png").write_bytes(picture())
    (images / url_name(URL)).write_bytes(picture("blue", form="JPEG"))

    def take(items, format="llava", schema=None, **options):
        path = tmp_path / ("data.json" if schema is None else "data.parquet")
        if schema is None:
            path.write_text(json.dumps(items))
        else:
            pq.write_table(pa.Table.from_pylist(items, schema=schema), path)
        work = Workspace(tmp_path / "work", "prepare", {})
        intake = take_in(
            open_source(path, images, format=format, **options), work, "train",
            duplicate_ids="number",
        )  # fmt: skip
        return list(Records(intake.folder)) if intake.records else [], list(intake.rejections)

    return take


def said(record):
    return [(turn.speaker, turn.text) for turn in record.conversations]


def turns(*texts):
    speakers = ("human", "gpt") * len(texts)
    return [{"from": who, "value": text} for who, text in zip(speakers, texts, strict=False)]


def test_llava_pretrain(taken):
    """blip_laion_cc_sbu_558k.json: one question, the placeholder before or after it."""
    records, rejections = taken(
        [
            {"id": "004539375", "image": "red.png",
             "conversations": turns("Render a clear summary of the photo.\n<image>", "a bus")},
            {"id": "002239345", "image": "red.png",
             "conversations": turns("<image>\nWrite a terse summary.", "a red bus")},
        ]
    )  # fmt: skip
    assert [record.id for record in records] == ["004539375", "002239345"]
    assert not rejections


def test_llava_instruct(taken):
    """llava_v1_5_mix665k.json: many turns, text alone with `model`, ids twice, a number as id."""
    records, rejections = taken(
        [
            {"id": "000000033471", "image": "red.png",
             "conversations": turns("<image>\nWhat colour?", "Red.", "Sure?", "Yes.")},
            {"id": "wNBG8Gp_0", "model": "", "conversations": turns("Write a poem.", "Roses.")},
            {"id": "000000033471", "image": "red.png",
             "conversations": turns("How many?\n<image>", "One.")},
            {"id": 7, "image": "red.png", "conversations": turns("<image>\nWhat?", "Red.")},
            {"id": "gone", "image": "ocr_vqa/images/1.jpg",
             "conversations": turns("<image>\nWho wrote it?", "Ann.")},
        ]
    )  # fmt: skip
    assert [record.id for record in records] == [
        "000000033471", "wNBG8Gp_0", "000000033471#2", "7"
    ]  # fmt: skip
    assert [len(record.images) for record in records] == [1, 0, 1, 1]
    assert len(said(records[0])) == 4
    assert [(r.id, r.reason) for r in rejections] == [("gone", Reason.MISSING_FILE)]


@pytest.mark.parametrize(
    ("files", "allowed", "found"),
    [
        (["1.gif"], True, "GIF"),
        (["1.png"], True, "PNG"),
        (["1.jpg", "1.png"], True, "JPEG"),  # what is named comes first
        (["1.gif", "1.png"], True, None),  # which of them?
        (["2.gif", "11.gif"], True, None),
        (["1.gif"], False, None),
        ([], True, None),
    ],
)
def test_another_extension_is_taken_where_it_is_allowed_and_clear(
    taken, tmp_path, picture, files, allowed, found
):
    folder = tmp_path / "images/ocr_vqa/images"
    folder.mkdir(parents=True)
    forms = {"jpg": "JPEG", "png": "PNG", "gif": "GIF"}
    for name in files:
        (folder / name).write_bytes(picture(form=forms[name.split(".")[1]]))
    item = {
        "id": "a", "image": "ocr_vqa/images/1.jpg",
        "conversations": turns("<image>\nWho wrote it?", "Ann."),
    }  # fmt: skip
    records, rejections = taken([item], any_extension=allowed)
    assert [record.images[0].format for record in records] == ([found] if found else [])
    assert [r.reason for r in rejections] == ([] if found else [Reason.MISSING_FILE])
    if files == ["1.gif"] and not allowed:
        assert "any_extension" in rejections[0].detail


def test_another_extension_is_no_way_out_of_the_folder(taken, tmp_path, picture):
    (tmp_path / "secret.png").write_bytes(picture())
    (tmp_path / "images/out.png").symlink_to(tmp_path / "secret.png")
    item = {"id": "a", "image": "out.jpg", "conversations": turns("<image>\nWhat?", "Red.")}
    _, [rejection] = taken([item], any_extension=True)
    assert rejection.reason == Reason.MISSING_FILE


def test_geo170k(taken):
    """qa_tuning.json: items without ids; several about one image."""
    question = "<image>\nFirst perform reasoning, then choose. As shown, angle 1 = 50.0, angle 2 ="
    records, rejections = taken(
        [
            {"image": "red.png", "conversations": turns(question, "Answer:B")},
            {"image": "geoqa_plus/0.png", "conversations": turns(question, "Answer:A")},
            {"image": "red.png", "conversations": turns(question, "Answer:C")},
        ],
        "geo170k",
    )
    assert [record.id for record in records] == ["0", "2"]
    assert said(records[1]) == [("human", question), ("gpt", "Answer:C")]
    assert [(r.id, r.reason) for r in rejections] == [("1", Reason.MISSING_FILE)]


def test_geo170k_in_parquet(taken):
    turn = pa.struct([("from", pa.string()), ("value", pa.string())])
    schema = pa.schema([("image", pa.string()), ("conversations", pa.list_(turn))])
    items = [{"image": "red.png", "conversations": turns("<image>\nx = ?", "3")}]
    [record], _ = taken(items, "geo170k", schema)
    assert said(record) == [("human", "<image>\nx = ?"), ("gpt", "3")]


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_refused_whatever_it_is_called(tmp_path, protocol):
    """GeoQA's and UniGeo's own files."""
    for name in ("train.pk", "train.json")[: 2 if protocol >= 2 else 1]:
        (tmp_path / name).write_bytes(pickle.dumps([{"subject": "x"}], protocol))
        with pytest.raises(SourceError, match="pickle"):
            open_source(tmp_path / name, tmp_path)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("format", "row", "expected"),
    [
        ("pixmo-cap", {"caption": "A bus.", "transcripts": ["so, a bus"]},
         ["Describe this image in detail.", "A bus."]),
        ("pixmo-ask-model-anything", {"question": "What is it?", "answer": "A bus."},
         ["What is it?", "A bus."]),
        ("pixmo-cap-qa", {"messages": ["What?", "A bus.", "Where?", "Here."]},
         ["What?", "A bus.", "Where?", "Here."]),
        ("pixmo-cap-qa", {"question": "[USER]What?[ASSISTANT]", "answer": "A bus."},
         ["What?", "A bus."]),
        ("pixmo-count", {"count": 3, "label": "people", "points": [{"x": 1.0, "y": 2.0}]},
         ["How many people are in this image? Answer with a number.", "3"]),
    ],
)  # fmt: skip
def test_pixmo(taken, tmp_path, format, row, expected):
    rows = [{"image_url": URL} | row, {"image_url": "https://example.org/gone.jpg"} | row]
    if "image_sha256" in READERS[format].columns:
        rows[0]["image_sha256"] = sha256(tmp_path / "images" / url_name(URL))
    [record], [rejection] = taken(rows, format, SCHEMAS[format])
    assert [text for _, text in said(record)] == [f"<image>\n{expected[0]}", *expected[1:]]
    assert record.images[0].format == "JPEG"
    assert (rejection.index, rejection.id, rejection.reason) == (1, "1", Reason.NOT_IN_CACHE)


def ask(**changes):
    return {"image_url": URL, "image_sha256": None, "question": "Q?", "answer": "A."} | changes


def test_an_image_that_has_changed_at_its_url_is_quarantined(taken, tmp_path, picture):
    good = sha256(tmp_path / "images" / url_name(URL))
    other = hashlib.sha256(picture("green")).hexdigest()
    # By its content's name, with an extension.
    (tmp_path / "images" / f"{other}.png").write_bytes(picture("green"))
    rows = [
        ask(image_sha256=good.upper()),
        ask(image_sha256="0" * 64),
        ask(image_url="https://example.org/elsewhere", image_sha256=other),
        ask(image_sha256="../images/red"),
        ask(),
    ]
    records, rejections = taken(
        rows, "pixmo-ask-model-anything", SCHEMAS["pixmo-ask-model-anything"]
    )
    assert [record.id for record in records] == ["0", "2", "4"]
    assert [(r.index, r.reason) for r in rejections] == [
        (1, Reason.OTHER_SHA256),
        (3, Reason.WRONG_TYPE),
    ]


def test_an_item_is_looked_up_again_when_the_cache_has_been_filled(taken, tmp_path, picture):
    row = {"image_url": "https://example.org/late.jpg", "caption": "Late.", "transcripts": []}
    schema = SCHEMAS["pixmo-cap"]
    assert taken([row], "pixmo-cap", schema)[1][0].reason == Reason.NOT_IN_CACHE
    (tmp_path / "images" / url_name(row["image_url"])).write_bytes(picture())
    assert len(taken([row], "pixmo-cap", schema)[0]) == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ask(question="What happens in <video>?"), Reason.UNKNOWN_CONTENT),
        (ask(video_url="https://example.org/v.mp4"), Reason.UNKNOWN_CONTENT),
        (ask(audio={"bytes": "RIFF"}), Reason.UNKNOWN_CONTENT),
        (ask(video_url=""), None),
        (ask(question="Compare <image>"), Reason.PLACEHOLDERS),
        (ask(question=None), Reason.WRONG_TYPE),
        (ask(image_url=None), Reason.WRONG_TYPE),
        (ask(answer=" "), Reason.EMPTY_ANSWER),
    ],
)
def test_what_is_not_read_is_quarantined_in_other_formats_too(taken, row, reason):
    records, rejections = taken([row], "pixmo-ask-model-anything")
    assert [r.reason for r in rejections] == ([reason] if reason else [])
    assert len(records) == (reason is None)


def test_a_video_column_of_parquet_is_seen(taken):
    format = "pixmo-ask-model-anything"
    schema = SCHEMAS[format].append(pa.field("video_url", pa.string()))
    rows = [ask(video_url="https://example.org/v.mp4"), ask(video_url="")]
    records, rejections = taken(rows, format, schema)
    assert [record.id for record in records] == ["1"]
    assert [r.reason for r in rejections] == [Reason.UNKNOWN_CONTENT]


def test_a_video_beside_geometry_is_quarantined(taken):
    item = {"image": "red.png", "conversations": turns("<image>\nx = ?", "3"), "video": "a.mp4"}
    clip = {"image": "red.png", "conversations": turns("<image>\n<video>\nx = ?", "3")}
    _, rejections = taken([item, clip], "geo170k")
    assert [r.reason for r in rejections] == [Reason.UNKNOWN_CONTENT] * 2


def test_a_parquet_file_of_another_schema_is_refused(taken):
    with pytest.raises(SourceError, match="image_sha256"):
        taken([{"image_url": URL, "caption": "A."}], "pixmo-count", SCHEMAS["pixmo-cap"])


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="pixmo-points"):
        open_source(None, tmp_path, format="pixmo-points")


def test_a_cache_is_filled_from_img2dataset(tmp_path, picture):
    shard = tmp_path / "downloads/00000"
    shard.mkdir(parents=True)
    (shard / "000000000.jpg").write_bytes(picture(form="JPEG"))
    (shard / "000000000.json").write_text(json.dumps({"url": URL, "status": "success"}))
    (shard / "000000001.json").write_text(json.dumps({"url": "https://gone", "status": "failed"}))
    (tmp_path / "downloads/00000_stats.json").write_text(json.dumps({"count": 2}))
    assert fill_cache(tmp_path / "downloads", tmp_path / "cache") == 1
    [file] = (tmp_path / "cache").iterdir()
    assert file.name == hashlib.sha256(URL.encode()).hexdigest() + ".jpg"
    assert file.read_bytes() == picture(form="JPEG")
