import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.evaluation.metrics import contains, exact_match, normalize


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
