import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diysink.evaluation.metrics import METRICS
from diysink.evaluation.metrics.mme import COGNITION, PERCEPTION
from tests.evaluation.metrics.tables import item, numbers, table

MME = METRICS["mme"]


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        ("yes", "yes"),
        ("YES.", "yes"),
        ("Yes, it is", "yes"),
        ("no", "no"),
        ("No, it is not", "no"),
        ("  no", "no"),
        ("not at all", "no"),
        ("None", "no"),
        ("know", "no"),  # as published: "no" among the first four characters
        ("yes, but no", "yes"),
        ("no, yes", "no"),
        ("(yes)", "yes"),
        ('"yes"', "yes"),
        ("**yes**", None),  # "**ye"
        ("**no**", "no"),
        ("the answer is yes", None),
        ("y", None),
        ("n", None),
        ("I cannot say", None),
        ("", None),
        ("是", None),
    ],
)
def test_first_four_characters(prediction, said):
    assert MME.judge(prediction, item("Yes")) == (float(said == "yes"), said, False)
    assert MME.judge(prediction, item("no")) == (float(said == "no"), said, False)


def pair(subtask, image, first, second):
    return [
        (said, item(true, number=2 * image + i, image=image, subtask=subtask, unit=f"image{image}"))
        for i, (said, true) in enumerate([(first, "yes"), (second, "no")])
    ]


def test_points_by_hand():
    """existence: 3 of 4 right, 1 of 2 images: 125. OCR: 200. code_reasoning: 1 of 2, 0 of 1: 50."""
    rows = table(
        MME,
        pair("existence", 0, "yes", "no")
        + pair("existence", 1, "yes", "yes")
        + pair("OCR", 2, "yes", "no")
        + pair("code_reasoning", 2, "other", "no"),  # the same image again, another unit
    )
    made = numbers(MME, rows)
    assert made == {
        "existence": [125],
        "OCR": [200],
        "code_reasoning": [50],
        "perception": [325],
        "cognition": [50],
        "total": [375],
    }


def test_all_right_is_2000_and_800():
    rows = [
        row
        for i, subtask in enumerate(PERCEPTION + COGNITION)
        for row in pair(subtask, i, "yes", "no")
    ]
    made = numbers(MME, table(MME, rows))
    assert (made["perception"], made["cognition"], made["total"]) == (2000, 800, 2800)
    assert not MME.percent
    assert MME.headline == "total"


def test_half_an_image_is_never_both():
    made = numbers(MME, table(MME, pair("count", 0, "yes", "no")[:1]))
    assert made["count"] == 100


def test_errors():
    with pytest.raises(ValueError, match="yes or no"):
        MME.judge("yes", item("2"))
    with pytest.raises(ValueError, match="commonsense_reasoning"):
        MME.totals(table(MME, [("yes", item("yes", subtask="ocr"))]))


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["color", "OCR", "text_translation"]),
            st.sampled_from(["yes", "no", "?"]),
            st.sampled_from(["yes", "no", "?"]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.randoms(),
)
def test_order_does_not_matter_and_points_are_within_bounds(pairs, rng):
    answered = [row for i, each in enumerate(pairs) for row in pair(each[0], i, *each[1:])]
    made = numbers(MME, table(MME, answered))
    again = numbers(MME, table(MME, rng.sample(answered, len(answered))))
    for name, value in made.items():
        assert again[name] == pytest.approx(value)
        assert 0 <= value <= (2800 if name == "total" else 2000)
    assert np.isfinite(made["total"])
