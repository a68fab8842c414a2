"""Each broken rule has its reason; whatever JSON holds gives a draft or a reason, nothing else."""

import contextlib
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.records import BadItemError, Draft, Reason, Turn, check_item
from diysink.records.rejection import excerpt

ASK = {"from": "human", "value": "<image>\nwhat colour?"}
ANSWER = {"from": "gpt", "value": "red"}


def reason(item, **options) -> Reason:
    with pytest.raises(BadItemError) as caught:
        check_item(item, **options)
    assert caught.value.detail.isascii()  # fit for any log
    assert len(caught.value.detail) < 300
    return caught.value.reason


def test_a_good_item(item):
    assert check_item(item(group="local", subtask="colour", model="ignored")) == Draft(
        "a",
        ("red.png",),
        (Turn("human", "<image>\nwhat colour?"), Turn("gpt", "red")),
        "local",
        "colour",
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"id": None}, Reason.MISSING_ID),
        ({"id": " \n"}, Reason.MISSING_ID),
        ({"id": True}, Reason.WRONG_TYPE),
        ({"id": 1.5}, Reason.WRONG_TYPE),
        ({"id": math.nan}, Reason.NAN),
        ({"id": "half \ud83d"}, Reason.BAD_TEXT),
        ({"image": math.nan}, Reason.NAN),
        ({"image": [3]}, Reason.WRONG_TYPE),
        ({"image": {"path": None, "bytes": None}}, Reason.WRONG_TYPE),
        ({"image": "\udcff.png"}, Reason.BAD_TEXT),
        ({"image": None}, Reason.PLACEHOLDERS),
        ({"image": []}, Reason.PLACEHOLDERS),
        ({"image": ["a.png", "b.png"]}, Reason.PLACEHOLDERS),
        ({"conversations": None}, Reason.NO_CONVERSATION),
        ({"conversations": []}, Reason.NO_CONVERSATION),
        ({"conversations": "hello"}, Reason.NO_CONVERSATION),
        ({"conversations": ["hello", "world"]}, Reason.WRONG_TYPE),
        ({"conversations": [ASK, {"from": "gpt"}]}, Reason.WRONG_TYPE),
        ({"conversations": [ASK, {"from": "gpt", "value": math.inf}]}, Reason.NAN),
        ({"conversations": [ASK, {"from": "gpt", "value": "\ud800"}]}, Reason.BAD_TEXT),
        ({"conversations": [ASK, {"from": "bot", "value": "red"}]}, Reason.UNKNOWN_SPEAKER),
        ({"conversations": [{"from": "system", "value": "be"}, ASK]}, Reason.UNKNOWN_SPEAKER),
        ({"conversations": [ANSWER, ASK]}, Reason.TURN_ORDER),
        ({"conversations": [ASK, ASK]}, Reason.TURN_ORDER),
        ({"conversations": [ASK, ANSWER, ASK]}, Reason.TURN_ORDER),
        ({"conversations": [ASK]}, Reason.TURN_ORDER),
        ({"conversations": [ASK, {"from": "gpt", "value": " \u3000\n"}]}, Reason.EMPTY_ANSWER),
        ({"conversations": [{"from": "human", "value": ""}, ANSWER]}, Reason.EMPTY_QUESTION),
        ({"conversations": [ASK, {"from": "gpt", "value": "<image>"}]}, Reason.PLACEHOLDERS),
        ({"group": "lokal"}, Reason.UNKNOWN_GROUP),
        ({"group": 1}, Reason.WRONG_TYPE),
        ({"subtask": math.nan}, Reason.NAN),
        ({"subtask": "x" * 4097}, Reason.TEXT_TOO_LONG),
        ({"id": "é" * 2049}, Reason.TEXT_TOO_LONG),
        pytest.param({"id": 1 << 16_610}, Reason.TEXT_TOO_LONG, id="large"),
        ({"image": ["a.png"] * 257}, Reason.TOO_MANY_IMAGES),
    ],
)
def test_broken_rules(item, changes, expected):
    assert reason(item(**changes)) == expected


@pytest.mark.parametrize("value", [None, 3, "text", [], ["id"]])
def test_not_an_object(value):
    assert reason(value) == Reason.NOT_AN_OBJECT


def nested(depth: int, kind: str) -> object:
    value: object = "x"
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


@pytest.mark.parametrize("depth", [5, 988, 5000])
@pytest.mark.parametrize("kind", ["list", "object"])
@pytest.mark.parametrize("key", ["id", "image", "conversations", "group", "subtask", "video", "x"])
def test_nesting_of_any_depth_in_any_key(item, depth, kind, key):
    given_item = item(**{key: nested(depth, kind)})
    if key == "x":
        assert check_item(given_item)
    else:
        reason(given_item)
    for part in ("from", "value", "image"):
        turns = [ASK | {part: nested(depth, kind)}, ANSWER]
        assert reason(item(conversations=turns)) in (Reason.WRONG_TYPE, Reason.UNKNOWN_CONTENT)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (["a", {"b": [1, None]}], "['a', {'b': [1, None]}]"),
        ([[[[[1]]]]], "[[[[[...]]]]]"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, 6, 7, ...]"),
        ({n: n for n in range(100)}, "{0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, ...}"),
        ([], "[]"),
        ((), "()"),
        (np.float64(0.5), "0.5"),
        ([np.int64(3)], "[3]"),
        (np.str_("é"), "'\\xe9'"),
        pytest.param(1 << 16_609, "a number of 16610 bits", id="large"),
        ("é", "'\\xe9'"),
    ],
)
def test_what_a_message_shows_of_a_value(value, shown):
    assert excerpt(value) == shown


@pytest.mark.parametrize(
    "value", ["x" * 10**7, ["x" * 10**7] * 100, {"x" * 10**7: "y" * 10**7}, [[["x"] * 1000] * 1000]]
)
def test_a_message_shows_little_of_a_large_value(value):
    start = time.process_time()
    assert len(excerpt(value)) < 200
    assert time.process_time() - start < 0.5


def test_a_decoders_long_message_is_cut():
    assert len(BadItemError(Reason.BROKEN_IMAGE, "x" * 10**6).detail) < 600


@pytest.mark.parametrize(
    "key",
    ["video", "videos", "Video", "VIDEO_PATH", "video_url", "video-file", "video_1", "audio",
     "audios", "audio_bytes", "sound", "speech", "music", "clip", "frames", "point_cloud", "pdf",
     "depth"],
)  # fmt: skip
@pytest.mark.parametrize("value", ["a.mp4", ["a.mp4"], b"x", {"bytes": b"x", "path": None}, 3])
def test_other_media_are_not_taken_for_text(item, key, value):
    given_item = item(**{key: value})
    assert reason(given_item) == Reason.UNKNOWN_CONTENT
    assert reason(item(conversations=[ASK | {key: value}, ANSWER])) == Reason.UNKNOWN_CONTENT
    with pytest.raises(BadItemError) as caught:
        check_item(given_item)
    assert repr(key) in caught.value.detail


@pytest.mark.parametrize(
    "key", ["images", "Image", "image_url", "image_path", "image_file", "imgs", "picture", "photos",
            "image_list", "image_base64", "image2", "image_2"]
)  # fmt: skip
def test_images_under_the_key_of_another_tool_say_which_key_is_read(item, key):
    for given_item in (item(image=None, **{key: ["a.png"]}), item(**{key: "a.png"})):
        with pytest.raises(BadItemError, match="`image`") as caught:
            check_item(given_item)
        assert caught.value.reason == Reason.UNKNOWN_CONTENT


def test_an_image_of_a_turn_is_not_read(item):
    turns = [ASK | {"image": "a.png"}, ANSWER]
    assert reason(item(conversations=turns)) == Reason.UNKNOWN_CONTENT
    assert check_item(item(conversations=[ASK | {"image": None}, ANSWER]))


@pytest.mark.parametrize(
    "value", [None, "", " ", b"", [], {}, [None, ""], {"bytes": None}, math.nan]
)
@pytest.mark.parametrize("key", ["video", "images"])
def test_a_media_key_that_holds_nothing_says_nothing(item, key, value):
    assert check_item(item(**{key: value}))


@pytest.mark.parametrize(
    "key", ["model", "width", "source", "image_id", "image_width", "image_size", "video_id", "url",
            "data_source", "num_frames", "caption", "imagenet_class", "audience", "x" * 10_000]
)  # fmt: skip
def test_harmless_keys_are_ignored(item, key):
    assert check_item(item(**{key: "anything"}))


@pytest.mark.parametrize(
    "question",
    [
        "<video>", "<video>\nWhat happens?", "What happens?\n<video>", "Look at <video> and say.",
        "<VIDEO>\nhi", "<audio>\nhi", "<speech>", "<sound> what is heard?", "<vid>", "<music>",
        "<|video|>", "<|image_pad|>", "<|image|>", "<video_pad>", "<video_1>", "<video 2>",
        "<image1>", "<image_1>", "<image_placeholder>", "<Image>", "<images>", "<img>a.png</img>",
        "<point_cloud>", "</video> is no end of <video>", "`x` <video>",
    ],
)  # fmt: skip
def test_placeholders_of_other_media(item, question):
    turns = [{"from": "human", "value": question}, ANSWER]
    assert reason(item(image=None, conversations=turns)) == Reason.UNKNOWN_CONTENT
    turns = [ASK, ANSWER, *turns]
    assert reason(item(conversations=turns)) == Reason.UNKNOWN_CONTENT


@pytest.mark.parametrize(
    "question",
    [
        "What does the <video> tag do?", "Explain the <audio> HTML element.", "What is `<video>`?",
        'Is "<video>" valid?', "<video>\n<source src='a.mp4'>\n</video>\nwhy?", "<video controls>",
        "Use the <Video> element", "a video of an image", "x < video > y", "<videogame>",
    ],
)  # fmt: skip
def test_html_is_text(item, question):
    turns = [{"from": "human", "value": question}, ANSWER]
    assert check_item(item(image=None, conversations=turns)).conversations[0].text == question


def test_answers_may_name_any_tag(item):
    turns = [ASK, {"from": "gpt", "value": "<video> and <audio>"}]
    assert check_item(item(conversations=turns))


def test_many_tags_take_little_time(item):
    text = "`<video>`" * 50_000 + "</video>" + ("<video" + "1" * 60 + "x>") * 1000
    text += "<video" + "_1" * 100_000 + "<" + " tag" * 1000 + "</video" + " " * 100_000
    hostile = {
        f"video{part * 60}"[:63] + "x": 1 for part in ("1", "_1", "_file_path", "file", "url")
    }
    start = time.process_time()
    assert check_item(item(**hostile))
    check_item(item(image=None, conversations=[{"from": "human", "value": text}, ANSWER]))
    assert time.process_time() - start < 5


def test_whole_numbers_are_ids(item):
    assert check_item(item(id=2354786)).id == "2354786"


def test_text_alone(item):
    turns = [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "hi"}]
    without = item(conversations=turns)
    del without["image"]
    assert check_item(without).images == ()


def test_a_question_may_be_the_placeholder_alone(item):
    turns = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "a bus"}]
    assert check_item(item(conversations=turns)).conversations[0].text == "<image>"


def test_embedded_images(item):
    assert check_item(item(image={"bytes": b"\x89PNG", "path": "x.png"})).images == (b"\x89PNG",)
    assert check_item(item(image={"bytes": None, "path": "x.png"})).images == ("x.png",)
    assert check_item(item(image=b"\x89PNG")).images == (b"\x89PNG",)


@pytest.mark.parametrize("text", ["é e\u0301 ß 漢字 🙂 \u202e \u0000 \ufeff", "é" * 2**19])
def test_texts_are_kept_to_the_byte(item, text):
    turns = [ASK, {"from": "gpt", "value": text}]
    assert check_item(item(id=text[:20], conversations=turns)).conversations[1].text == text


def test_the_limit_of_text_counts_bytes_of_the_whole_item(item):
    turns = [ASK, {"from": "gpt", "value": "é" * 100}]
    size = 1 + len(ASK["value"]) + 200
    assert check_item(item(conversations=turns), max_text_bytes=size)
    assert reason(item(conversations=turns), max_text_bytes=size - 1) == Reason.TEXT_TOO_LONG


def test_without_conversations_only_id_and_image_count():
    assert check_item({"id": "x", "image": "x.png"}, conversations=False).conversations == ()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["human", "gpt", "<image>", "local", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "image",
                    "conversations",
                    "from",
                    "value",
                    "group",
                    "path",
                    "video",
                    "images",
                ]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_gives_a_draft_or_a_reason(value):
    with contextlib.suppress(BadItemError):
        draft = check_item(value)
        assert draft.id.strip()
        assert len(draft.conversations) % 2 == 0


@given(st.lists(st.tuples(st.sampled_from(["human", "gpt"]), st.sampled_from(["x", "<image>"]))))
def test_accepted_conversations_keep_every_rule(turns):
    given_turns = [{"from": speaker, "value": text} for speaker, text in turns]
    images = sum(text == "<image>" for _, text in turns)
    good = (
        bool(turns)
        and [speaker for speaker, _ in turns] == ["human", "gpt"] * (len(turns) // 2)
        and not any(speaker == "gpt" and text == "<image>" for speaker, text in turns)
    )
    item = {"id": "a", "image": ["x"] * images, "conversations": given_turns}
    if good:
        assert check_item(item)
    else:
        reason(item)
