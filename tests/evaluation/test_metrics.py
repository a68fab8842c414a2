import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.evaluation.item import Item
from diysink.evaluation.metrics import METRICS, contains, exact_match, normalize
from diysink.records import Record, Turn
from tests.evaluation.lvlms import picture


@pytest.mark.parametrize(
    ("prediction", "reference", "same"),
    [
        ("red", "red", True),
        (" Red.\n", "red", True),
        ("dark   green", "Dark green", True),
        ("yes!", "yes", True),
        ("3.5", "3.5.", True),
        ("ｒｅｄ", "red", True),  # full-width letters
        ("t-shirt", "tshirt", False),
        ("3.5", "35", False),
        ("red circle", "red", False),  # containing the answer is not giving it
        ("the circle is red", "red", False),
        ("", "red", False),
        ("...", "", True),
    ],
)
def test_exact_match(prediction, reference, same):
    assert exact_match(prediction, reference) is same


@pytest.mark.parametrize(
    ("prediction", "reference", "there"),
    [
        ("red", "red", True),
        ("The circle is red, I think.", "Red", True),
        ("The circle is dark red.", "dark red", True),
        ("The circle is dark, then red.", "dark red", False),
        ("tired", "red", False),
        ("infra-red light", "red", False),
        ("It is 3.5 cm", "3.5", True),
        ("It is 3.5 cm", "3", False),
        ("It is 3.5cm", "5", False),
        ("1,024 of them", "1,024", True),
        ("about -5 degrees", "5", False),
        ("about -5 degrees", "-5", True),
        ("the 2nd", "2", False),
        ("don't know", "don", False),
        ("B. The second", "b", True),
        ("not red", "red", True),  # generous, as its docstring says
        ("", "red", False),
        ("red", "", False),
        ("...", "...", False),
    ],
)
def test_contains(prediction, reference, there):
    assert contains(prediction, reference) is there


@given(st.text(), st.text())
def test_what_is_exact_and_has_words_is_contained(prediction, reference):
    if exact_match(prediction, reference) and any(c.isalnum() for c in normalize(reference)):
        assert contains(prediction, reference)
    assert not contains("", reference)


@given(st.text())
def test_normalizing_twice_is_normalizing_once(text):
    assert normalize(normalize(text)) == normalize(text)


def item(number, answer="red", **more):
    return Item(
        id=f"q{number}",
        images=(picture(number),),
        conversations=(Turn("human", "<image>\nWhich?"), Turn("gpt", answer)),
        **more,
    )


def test_a_record_is_an_item_with_its_own_answer():
    record = Record("r", (picture(0),), (Turn("human", "<image>\nWhich?"), Turn("gpt", "red")))
    assert Item.of(record).references == ("red",)
    assert item(0, answers=("red", "crimson")).references == ("red", "crimson")
    asked = item(0)
    assert Item.of(asked) is asked


@pytest.mark.parametrize("name", ["exact", "contains"])
def test_any_of_several_references_will_do(name):
    asked = item(0, answers=("red", "dark red"))
    assert METRICS[name].judge("Dark red.", asked).score == 1
    assert METRICS[name].judge("blue", asked).score == 0
    assert METRICS[name].judge("Blue.", asked).parsed == "blue"


def test_sums_over_images_give_the_number():
    """Two images with one question and three: 1 and 1 of 3 right; the second image alone, 1/3."""
    rows = pd.DataFrame({"image": ["a", "b", "b", "b"], "correct": [1.0, 1.0, 0.0, 0.0]})
    totals = METRICS["exact"].totals(rows)
    assert totals.loc["b"].to_dict() == {"right": 1, "asked": 3}
    draws = np.array([[1, 1], [0, 2]]) @ totals.to_numpy()
    sums = dict(zip(totals.columns, draws.T, strict=True))
    assert METRICS["exact"].numbers(sums)["accuracy"].tolist() == [0.5, 1 / 3]
