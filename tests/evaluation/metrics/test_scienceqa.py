import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.evaluation.metrics import METRICS
from diysink.evaluation.metrics.scienceqa import stated_letter
from tests.evaluation.metrics.tables import item

OPTIONS = ("a magnet", "a rock", "a leaf")


@pytest.mark.parametrize(
    ("prediction", "letter"),
    [
        ("B", "B"),
        (" B\n", "B"),
        ("E", "E"),
        ("F", None),
        ("b", None),  # lower case
        ("B. a rock", "B"),
        ("B.", None),  # as published: a full stop and a space
        ("B.a rock", None),
        ("B) a rock", None),
        ("(B)", None),
        ("F. a rock", None),
        ("The answer is B.", "B"),
        ("The answer is B", None),  # as published: some character follows
        ("The answer is B, a rock", "B"),
        ("I think so. The answer is B.", "B"),
        ("the answer is B.", None),
        ("The answer is A. The answer is B.", None),  # several
        ("A or B", None),
        ("A. a magnet. The answer is B.", "A"),  # the beginning goes first
        ("a rock", None),
        ("I cannot answer.", None),
        ("", None),
        ("Ответ B", None),
    ],
)
def test_forms(prediction, letter):
    assert stated_letter(prediction) == letter
    judgement = METRICS["scienceqa"].judge(prediction, item("B", options=OPTIONS))
    assert judgement == (float(letter == "B"), letter, False)


@given(st.text(max_size=30))
def test_a_letter_or_nothing(text):
    letter = stated_letter(text)
    assert letter is None or (len(letter) == 1 and letter in text)
