import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.miniature.dialogue import (
    GLOBAL_SUBTASKS,
    GROUND,
    LOCAL_SUBTASKS,
    SUBTASKS,
    ask,
    ask_complexity,
    ask_in_group,
    ask_scope,
    caption,
    describe,
    global_words,
    inventory,
)
from diysink.miniature.wordings import PHRASES
from diysink.miniature.world import COLOURS, SHAPES, Scene, Thing, sample_scene

seeds = st.integers(0, 2**32 - 1)
SCENE = Scene(
    texture="sand",
    lighting="soft",
    mirrored=False,
    things=(
        Thing(0, 1, "red", "circle"),
        Thing(2, 2, "red", "cross"),
        Thing(4, 0, "blue", "circle"),
    ),
    plain=((1, 1), (5, 5)),
)


def blanks(question: str) -> tuple[str | None, str | None]:
    colour = re.search("|".join(COLOURS), question)
    shape = re.search("|".join(SHAPES), question)
    return colour and colour.group(), shape and shape.group()


def true_local_answer(scene: Scene, subtask: str, question: str) -> str:
    """What a reader of the question, knowing the scene, would answer."""
    colour, shape = blanks(question)
    found = [
        thing
        for thing in scene.things
        if colour in (None, thing.colour) and shape in (None, thing.shape)
    ]
    match subtask:
        case "colour":
            (only,) = found
            return only.colour
        case "shape":
            (only,) = found
            return only.shape
        case _:
            return "yes" if found else "no"


@given(seeds, st.sampled_from(LOCAL_SUBTASKS))
def test_local_answers_are_true(seed: int, subtask: str) -> None:
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng)
    if exchange := ask(scene, subtask, rng):
        assert exchange.group == "local"
        assert exchange.answer == true_local_answer(scene, subtask, exchange.question)


@given(seeds, st.sampled_from(SUBTASKS["mixed"]))
def test_mixed_answers_are_true(seed: int, subtask: str) -> None:
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng)
    if exchange := ask(scene, subtask, rng):
        whole, detail = exchange.answer.split()
        first, second = subtask.split("-")
        assert whole == (scene.texture if first == "scene" else scene.lighting)
        assert detail == true_local_answer(scene, second, exchange.question)


def test_global_answers_by_hand() -> None:
    rng = np.random.default_rng(0)
    answers = {subtask: ask(SCENE, subtask, rng) for subtask in GLOBAL_SUBTASKS}
    assert {name: found and found.answer for name, found in answers.items()} == {
        "scene": "sand",
        "lighting": "soft",
        "symmetry": "no",
        "majority": "red",
        "crowd": "few",
    }


@given(seeds, st.sampled_from(list(SUBTASKS)))
def test_every_scene_has_a_question_in_every_group(seed: int, group: str) -> None:
    rng = np.random.default_rng(seed)
    assert ask_in_group(sample_scene(rng), group, rng).group == group


def test_presence_is_balanced_and_its_negatives_are_hard() -> None:
    rng = np.random.default_rng(1)
    scenes = [sample_scene(rng) for _ in range(800)]
    asked = [ask(scene, "presence", rng) for scene in scenes]
    assert 0.45 < np.mean([exchange.answer == "yes" for exchange in asked if exchange]) < 0.55
    for scene, exchange in zip(scenes, asked, strict=True):
        present = {(thing.colour, thing.shape) for thing in scene.things}
        apart = {(colour, shape) for colour, _ in present for _, shape in present} - present
        if exchange and exchange.answer == "no" and apart:
            assert blanks(exchange.question) in apart


def test_the_main_colour_is_no_shortcut_to_a_local_answer() -> None:
    rng = np.random.default_rng(2)
    for scene in (sample_scene(rng) for _ in range(300)):
        exchange = ask(scene, "colour", rng)
        assert exchange is None or exchange.answer != scene.majority


def test_routing_questions_by_hand() -> None:
    assert ask_complexity(SCENE).answer == "simple"
    rng = np.random.default_rng(0)
    answers = [ask_scope(ask_in_group(SCENE, group, rng)).answer for group in SUBTASKS]
    assert answers == ["whole", "detail", "both"]
    exchange = ask(SCENE, "scene", rng)
    assert exchange is not None
    assert exchange.question in ask_scope(exchange).question


def test_caption_and_inventory_by_hand() -> None:
    assert inventory(SCENE, np.random.default_rng(0)).answer == "circle red, cross red, circle blue"
    assert caption(SCENE, np.random.default_rng(0)).answer == (
        "sand, soft, uneven, mostly red, few: red circle, red cross, blue circle"
    )


@given(seeds)
def test_views_partition_the_description(seed: int) -> None:
    scene = sample_scene(np.random.default_rng(seed))

    def told(view: str, order: str = "natural") -> list[str]:
        return describe(scene, np.random.default_rng(seed), view, order)

    assert sorted(told("sink")) == sorted(global_words(scene))
    assert sorted(told("both")) == sorted(told("sink") + told("nonsink"))
    assert told("both", "front") == told("sink") + told("nonsink")
    assert told("both", "end") == told("nonsink") + told("sink")
    assert len(told("nonsink")) == 36 - len(scene.plain)
    objects = [word for word in told("nonsink") if word != GROUND]
    assert objects == [f"{thing.colour}-{thing.shape}" for thing in scene.things]


def test_no_question_names_a_place() -> None:
    for subtasks in SUBTASKS.values():
        for subtask in subtasks:
            assert not re.search(r"\b(row|column|corner|cell|\d)\b", " ".join(PHRASES[subtask]))


def test_unknown_names_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="No questions of subtask 'smell'"):
        ask(SCENE, "smell", rng)
    with pytest.raises(ValueError, match="view is 'left'"):
        describe(SCENE, rng, "left")
    with pytest.raises(ValueError, match="order is 'up'"):
        describe(SCENE, rng, order="up")
