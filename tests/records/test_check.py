"""Each broken rule has its reason; whatever JSON holds gives a draft or a reason, nothing else."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.records import BadItemError, Draft, Reason, Turn, check_item

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
    ],
)
def test_broken_rules(item, changes, expected):
    assert reason(item(**changes)) == expected


@pytest.mark.parametrize("value", [None, 3, "text", [], ["id"]])
def test_not_an_object(value):
    assert reason(value) == Reason.NOT_AN_OBJECT


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
            st.sampled_from(["id", "image", "conversations", "from", "value", "group", "path"]),
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
