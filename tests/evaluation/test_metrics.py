import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.evaluation.metrics import exact_match, normalize


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


@given(st.text())
def test_normalizing_twice_is_normalizing_once(text):
    assert normalize(normalize(text)) == normalize(text)
