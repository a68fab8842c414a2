import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.evaluation.metrics import METRICS
from diysink.evaluation.metrics.mmmu import chosen_letter, comparable, guess, key_responses
from tests.evaluation.metrics.tables import item, numbers, table

MMMU = METRICS["mmmu"]
OPTIONS = ("cats", "dogs", "blue birds")
CHOICE = {"question_type": "multiple-choice"}
OPEN = {"question_type": "open"}


@pytest.mark.parametrize(
    ("prediction", "letter"),
    [
        ("B", "B"),
        ("B.", "B"),
        ("'B'", "B"),
        ("(B)", "B"),
        ("(B) dogs", "B"),
        ("The answer is B", "B"),
        ("The answer is (B).", "B"),
        ("B dogs", "B"),
        ("B. dogs", None),  # a full stop after it, and two words
        ("b", None),
        ("(b)", None),
        ("D", None),
        ("(A) or (B)", "B"),  # several: the last
        ("B, not A", "A"),
        ("(A) is better than B", "A"),  # parentheses go first
        ("A man chose B", "B"),
        ("dogs", None),  # too short for its text
        ("In this picture I see DOGS", "B"),
        ("First I see dogs and then cats", "A"),  # several texts: the last
        ("There are neither birds nor fish here", None),
        ("I cannot see an image here, sorry", None),
        ("", None),
        ("答案是B", None),
        ("答案是 B", "B"),
    ],
)
def test_multiple_choice(prediction, letter):
    assert chosen_letter(prediction, OPTIONS) == letter
    asked = item("B", options=OPTIONS, details=CHOICE)
    score, parsed, guessed = MMMU.judge(prediction, asked)
    assert (parsed, guessed) == (letter, letter is None)
    assert score == float((guess(asked) if letter is None else letter) == "B")


def test_guesses_are_spread_and_stay_the_same():
    drawn = [guess(item("A", number=i, options=OPTIONS)) for i in range(300)]
    assert drawn == [guess(item("A", number=i, options=OPTIONS)) for i in range(300)]
    assert all(70 < drawn.count(letter) < 130 for letter in "ABC")


def test_accuracy_and_the_share_of_guesses():
    asked = [item("B", number=i, options=OPTIONS, details=CHOICE) for i in range(40)]
    rows = table(MMMU, [("B" if i < 10 else "?", each) for i, each in enumerate(asked)])
    made = numbers(MMMU, rows)
    lucky = sum(guess(each) == "B" for each in asked[10:])
    assert made["guessed"] == 30 / 40
    assert made["accuracy"] == (10 + lucky) / 40
    assert 0 < lucky < 30


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("3", (3.0,)),
        (" 1,234.567 ", (1234.57,)),
        ("-2", (-2.0,)),
        ("1e3", (1000.0,)),
        ("X", (" x", "x ")),
        ("Red", ("red",)),
        ("25%", ("25%",)),
        ("", ("",)),
    ],
)
def test_what_is_compared(text, values):
    assert comparable(text) == values


@pytest.mark.parametrize(
    ("prediction", "keys"),
    [
        ("42", ["42"]),
        ("The answer is 42.", ["42"]),
        ("It is red, so blue is what is left", ["left"]),
        ("x = 5", ["5"]),
        ("x = 5\nDone", ["x = 5\ndone"]),  # "=" counts on the last line alone
        ("It is 3\nThe answer is 4", ["3", "4"]),
        ("It is. That is 5", ["5"]),  # no split at full stops: it is lower case by then
        ("the result is :", ["the result is :"]),  # trivial
        ("so it is ", ["it is"]),
        ("", [""]),
    ],
)
def test_key_responses(prediction, keys):
    assert key_responses(prediction) == keys


@pytest.mark.parametrize(
    ("prediction", "references", "right"),
    [
        ("42", ("42",), True),
        ("42.0", ("42",), True),
        ("The answer is 42 cm.", ("42",), True),
        ("about 1,234", ("1234",), True),
        ("3.14159", ("3.14",), True),  # two decimals
        ("3.2", ("3.14",), False),
        ("24", ("2",), False),  # numbers are compared as numbers
        ("-5", ("5",), False),
        ("1e3", ("1000",), True),
        ("It is dark red", ("red",), True),  # the reference is in the answer
        ("red", ("dark red",), False),
        ("The answer is Paris", ("London", "paris"), True),
        ("The point X lies there", ("x",), True),
        ("axe", ("x",), False),  # one character needs a space beside it
        ("I do not know", ("42",), False),
        ("", ("42",), False),
        ("nan", ("nan",), False),  # as published: it is a number that equals none
    ],
)
def test_open_questions(prediction, references, right):
    asked = item(references[0], answers=references, details=OPEN)
    judgement = MMMU.judge(prediction, asked)
    assert (judgement.score, judgement.guessed) == (float(right), False)


@pytest.mark.parametrize("details", [{}, {"question_type": "essay"}])
def test_other_types_are_an_error(details):
    with pytest.raises(ValueError, match="question_type"):
        MMMU.judge("B", item("B", options=OPTIONS, details=details))


@given(st.text(max_size=40), st.sampled_from("ABC"))
def test_every_answer_is_judged(text, reference):
    asked = item(reference, options=OPTIONS, details=CHOICE)
    assert MMMU.judge(text, asked) == MMMU.judge(text, asked)
    assert MMMU.judge(text, item("12", details=OPEN)).score in (0, 1)
