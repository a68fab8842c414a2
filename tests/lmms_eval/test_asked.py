"""What tasks of lmms-eval ask, without lmms-eval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from diysink.lmms_eval.asked import Decoding, batches, parts_of, record_of, visual_parts
from diysink.records import question_of

RED, BLUE = Image.new("RGB", (16, 12), "red"), Image.new("L", (12, 12), 200)
AS_MOST_TASKS = {
    "max_new_tokens": 16, "temperature": 0, "do_sample": False, "top_p": 1.0, "num_beams": 1,
    "image_aspect_ratio": "original",
}  # fmt: skip


def test_what_most_tasks_ask_for_is_greedy_decoding():
    assert Decoding.of(AS_MOST_TASKS, 1024) == Decoding(16)
    assert Decoding.of({"do_sample": True, "temperature": 0.0}, 7) == Decoding(7)
    assert Decoding.of({"until": "\n\n", "top_p": None}, 7) == Decoding(7, ("\n\n",))
    assert Decoding.of({"until": ["", "Q:"]}, 7) == Decoding(7, ("Q:",))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"temperature": 0.7}, "temperature=0"),
        ({"do_sample": True}, "temperature=0"),
        ({"num_beams": 5}, "num_beams=1"),
        ({"repetition_penalty": 1.2}, "repetition_penalty=1"),
        ({"stop_sequences": ["\n"]}, "stop_sequences"),
    ],
)
def test_what_is_not_greedy_or_not_known_is_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        Decoding.of(settings, 16)


def test_an_answer_ends_before_the_first_of_the_texts():
    ends = Decoding(16, ("Q:", "\n"))
    assert ends.ended("red Q: and\nmore") == "red"
    assert ends.ended("red\nQ: more") == "red"
    assert Decoding(16).ended(" red Q: ") == "red Q:"


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), max_size=40), st.integers(1, 7)
)
def test_batches_have_every_request_once_of_one_key_the_longest_first(requests, size):
    keys, lengths = [key for key, _ in requests], [length for _, length in requests]
    found = batches(keys, lengths, size)
    assert sorted(index for batch in found for index in batch) == list(range(len(requests)))
    for batch in found:
        assert 1 <= len(batch) <= size
        assert len({keys[index] for index in batch}) == 1
    for key in set(keys):
        order = [lengths[index] for batch in found for index in batch if keys[index] == key]
        assert order == sorted(order, reverse=True)


def test_images_stand_where_messages_have_them():
    content = [
        {"type": "text", "text": "Between "},
        {"type": "image", "url": RED},
        {"type": "text", "text": " and <image>"},
        {"type": "image", "url": BLUE},
        {"type": "text", "text": "what differs?"},
    ]
    record = record_of("t/test/0#0", parts_of([{"role": "user", "content": content}]))
    assert question_of(record) == "Between <image> and <image>what differs?"
    assert [(image.width, image.height) for image in record.images] == [(16, 12), (12, 12)]
    assert record.images[0].open().getpixel((3, 3)) == (255, 0, 0)
    assert record.images[1].open().getpixel((3, 3)) == (200, 200, 200)


@pytest.mark.parametrize(
    ("visuals", "text", "question"),
    [
        ([RED], "what colour?", "what colour?"),
        ([RED], "<image>\nwhat colour?", "what colour?"),
        ([RED, BLUE], "which?", "<image><image>which?"),
        ([RED, BLUE], "<image> or <image>?", "<image> or <image>?"),
        ([RED, BLUE], "<image> or?", "<image><image> or?"),
    ],
)
def test_simple_requests_have_images_first_or_at_their_placeholders(visuals, text, question):
    assert question_of(record_of("t/test/0#0", visual_parts(visuals, text))) == question


def test_pixels_come_through_in_every_mode(tmp_path):
    for mode in ("RGB", "RGBA", "P", "CMYK", "F", "YCbCr"):
        record = record_of("t/test/0#0", visual_parts([RED.convert(mode)], "?"))
        seen, expected = record.images[0].open(), RED.convert(mode).convert("RGB")
        assert seen.tobytes() == expected.tobytes(), mode
    RED.save(tmp_path / "red.png")
    record = record_of("t/test/0#0", visual_parts([str(tmp_path / "red.png")], "?"))
    assert record.images[0].open().tobytes() == RED.tobytes()


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"type": "video", "url": "clip.mp4"}, "video"),
        ({"type": "audio", "url": "a.wav"}, "audio"),
        ({"type": "image", "url": "clip.mp4"}, "clip.mp4"),
        ({"type": "image", "url": {"array": [0.0]}}, "dict"),
    ],
)
def test_videos_and_sound_are_refused_by_name(part, named):
    with pytest.raises(ValueError, match=f"t/test/4#0.*{named}"):
        record_of("t/test/4#0", [part, {"type": "text", "text": "what happens?"}])


def test_system_prompts_and_dialogues_are_refused():
    user = {"role": "user", "content": "what?"}
    assert parts_of([user]) == [{"type": "text", "text": "what?"}]
    for turns in (["system", "user"], ["user", "assistant", "user"]):
        with pytest.raises(ValueError, match=turns[0]):
            parts_of([user | {"role": role} for role in turns])
