"""Labels of images, and random-matched tokens."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diysink.analysis.labels import box_tokens, checked, one_per_image, record_labels
from diysink.records import Turn
from diysink.sinks.random_matched import random_matched_tokens


def labelled(record, subtask, answer, group="global"):
    turns = (Turn("human", "<image>\na"), Turn("gpt", answer))
    return dataclasses.replace(record, conversations=turns, group=group, subtask=subtask)


def test_answers_are_labels_of_their_image(tiny_records):
    first, second, third = (tiny_records[i] for i in range(3))
    made = record_labels(
        [
            labelled(first, "scene", "grass"),
            labelled(first, "scene", "sand"),
            labelled(first, "lighting", "dark"),
            labelled(second, "colour", "red", "local"),
            labelled(third, None, "red"),
            third,
        ]
    )
    assert made[["image", "attribute", "scope", "label"]].to_numpy().tolist() == [
        [first.images[0].sha256, "scene", "global", "grass"],
        [first.images[0].sha256, "lighting", "global", "dark"],
    ]
    assert made[["top", "left", "bottom", "right"]].isna().all(axis=None)
    assert checked(made).equals(made.astype({"label": "str"}))


def test_no_answers_are_an_empty_table_of_the_same_columns(tiny_records):
    made = record_labels(tiny_records)
    assert made.empty
    assert checked(made).empty


def table(**other):
    row = {
        "image": "x", "attribute": "shape", "scope": "local", "label": "circle",
        "top": 0.0, "left": 0.5, "bottom": 0.5, "right": 1.0,
    }  # fmt: skip
    return pd.DataFrame([row | other])


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"scope": "mixed"}, "global or local"),
        ({"bottom": 0.0}, "fractions of the image"),
        ({"right": 640.0}, "fractions of the image"),
        ({"top": np.nan}, "fractions of the image"),
    ],
)
def test_refuses(other, says):
    assert len(checked(table())) == 1
    with pytest.raises(ValueError, match=says):
        checked(table(**other))
    with pytest.raises(ValueError, match="lack the columns image, scope"):
        checked(table().drop(columns=["image", "scope"]))


def test_a_box_is_the_patches_whose_centre_it_holds():
    grid = box_tokens((0.0, 0.5, 0.5, 1.0), 2, 4).reshape(2, 4)
    assert grid.tolist() == [[False, False, True, True], [False] * 4]
    small = box_tokens((0.9, 0.0, 0.95, 0.02), 2, 4).reshape(2, 4)
    assert small.tolist() == [[False] * 4, [True, False, False, False]]
    assert box_tokens((0.0, 0.0, 1.0, 1.0), 3, 3).all()


def test_one_object_per_image_the_same_for_all_it_has():
    rows = [
        table(image=image, attribute=attribute, label=f"{attribute}{i}", left=i / 10)
        for image in "abcdefgh"
        for i in range(5)
        for attribute in ("shape", "colour")
    ]
    drawn = one_per_image(pd.concat(rows, ignore_index=True), 0)
    assert (drawn.groupby(["image", "attribute"]).size() == 1).all()
    assert (drawn.groupby("image")["left"].nunique() == 1).all()
    assert drawn["left"].nunique() > 1
    again = one_per_image(pd.concat(rows[::-1], ignore_index=True), 0)
    assert set(map(tuple, again.to_numpy().tolist())) == set(map(tuple, drawn.to_numpy().tolist()))


@given(
    st.lists(st.lists(st.booleans(), min_size=12, max_size=12), min_size=1, max_size=5),
    st.integers(0, 9),
)
def test_matched_tokens_are_as_many_others(masks, seed):
    sinks = torch.tensor(masks)
    keys = [f"image{i}" for i in range(len(masks))]
    drawn = random_matched_tokens(sinks, keys, seed)
    assert not (drawn & sinks).any()
    wanted = torch.minimum(sinks.sum(1), (~sinks).sum(1))
    assert torch.equal(drawn.sum(1), wanted)
    alone = random_matched_tokens(sinks[-1:], keys[-1:], seed)
    assert torch.equal(alone, drawn[-1:])


def test_matched_tokens_are_spread_evenly_and_follow_image_and_seed():
    sinks = torch.zeros(900, 9, dtype=torch.bool)
    sinks[:, 4] = True
    keys = [f"image{i}" for i in range(900)]
    drawn = random_matched_tokens(sinks, keys, 0)
    often = drawn.sum(0)[[0, 1, 2, 3, 5, 6, 7, 8]].float()
    assert (often - 900 / 8).abs().max() < 45  # over four standard deviations
    assert not torch.equal(drawn, random_matched_tokens(sinks, keys, 1))
    assert not torch.equal(
        drawn, random_matched_tokens(sinks, [f"other{i}" for i in range(900)], 0)
    )
