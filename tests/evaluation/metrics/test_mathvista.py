import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.evaluation.metrics import METRICS
from diysink.evaluation.metrics.mathvista import MathVista, by_rules, edit_distance
from tests.evaluation.metrics.tables import item, numbers, table

MATHVISTA = METRICS["mathvista"]
OPTIONS = ("12 cm", "21 cm", "circle")


def free(answer, kind, precision=None):
    details = {"question_type": "free_form", "answer_type": kind, "precision": precision}
    return item(answer, details=details)


def choice(answer="21 cm"):
    details = {"question_type": "multi_choice", "answer_type": "text", "precision": None}
    return item(answer, options=OPTIONS, details=details)


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        ("21 cm", "21 cm"),
        (" 21 cm\n", "21 cm"),
        ("B", "21 cm"),
        ("(B)", "21 cm"),
        ("(b)", "21 cm"),
        ("(B) or (C)", "21 cm"),  # the first in parentheses
        ("The answer is B.", "21 cm"),
        ('The answer is "21 cm".', "21 cm"),
        ("It has the form of a circle", "circle"),
        ("circel", None),  # nearest: circle
        ("b", None),
        ("", None),
        ("I cannot tell", None),
        ("12 cm or 21 cm", None),
    ],
)
def test_multiple_choice(prediction, said):
    judgement = MATHVISTA.judge(prediction, choice())
    assert judgement.parsed == said
    assert judgement.guessed == (said is None)
    if said is not None:
        assert judgement.score == float(said == "21 cm")


def test_the_nearest_option_is_taken_and_counted():
    """To "circel": circle 2, the others 5 or 6. To "": the shortest, the first of two."""
    assert MATHVISTA.judge("circel", choice("circle")) == (1.0, None, True)
    assert MATHVISTA.judge("", choice("12 cm")).score == 1
    rows = table(MATHVISTA, [("circel", choice("circle")), ("B", choice()), ("A", choice())])
    made = numbers(MATHVISTA, rows)
    assert made == {"accuracy (rules)": pytest.approx(2 / 3), "guessed": pytest.approx(1 / 3)}
    assert MATHVISTA.headline == "accuracy (rules)"


def test_a_reference_may_be_the_letter():
    assert MATHVISTA.judge("21 cm", choice("B")).score == 1
    assert MATHVISTA.judge("(A)", choice("B")).score == 0


@pytest.mark.parametrize(
    ("prediction", "kind", "precision", "value"),
    [
        ("5", "integer", None, "5"),
        ("5.7", "integer", None, "5"),  # as published: cut, not rounded
        ("The answer is 5.", "integer", None, "5"),
        ("3 + 4 = 7", "integer", None, "7"),  # the last
        ("The answer is 5, as 3 were there before 8", "integer", None, "5"),
        ("Answer: 12", "integer", None, "12"),
        ("The answer is clear: 4 of 9", "integer", None, "4"),
        ("So the answer is below. 7 of them, and the answer is: no idea", "integer", None, "7"),
        ("$1,234", "integer", None, "1234"),
        ("1,2 and 3", "integer", None, "3"),
        ("-5", "integer", None, "-5"),
        ("it is −5", "integer", None, "-5"),
        ("from 3-5", "integer", None, "5"),
        ("five", "integer", None, None),
        ("", "integer", None, None),
        ("1e400", "integer", None, None),
        ("R2D2", "integer", None, None),
        ('The answer is "14".', "integer", None, "14"),
        ("1.25", "float", 1, "1.2"),
        ("1.35", "float", 1, "1.4"),
        ("1", "float", 2, "1.0"),
        ("about .5 m", "float", 1, "0.5"),
        ("about 2e-1", "float", 1, "0.2"),
        ("25%", "float", 1, "25.0"),
        ("1.6", "float", None, "2"),
        ("none", "float", 1, None),
        ("[1,2]", "list", None, "[1, 2]"),
        ("So [0, 1] or, better, [1, 2].", "list", None, "[1, 2]"),
        ("1 and 2", "list", None, None),
        ("Paris ", "text", None, "Paris"),
    ],
)
def test_free_form(prediction, kind, precision, value):
    judgement = MATHVISTA.judge(prediction, free("no such", kind, precision))
    assert judgement == (0.0, value, False)
    if value is not None:
        assert MATHVISTA.judge(prediction, free(value, kind, precision)).score == 1


def test_another_extraction_has_another_name():
    metric = MathVista(lambda prediction, asked: "(C)", label="by hand")
    assert metric.headline == "accuracy (by hand)"
    assert metric.judge("whatever", choice("circle")).score == 1


def test_nothing_found_is_none():
    assert by_rules("b", choice()) is None
    assert by_rules("", free("1", "text")) is None


def plain_distance(a, b):
    """The table of Wagner and Fischer, row by row."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (letter != other))
    return row[-1]


@given(st.text("abc", max_size=12), st.text("abcd", max_size=12))
def test_edit_distance(a, b):
    assert edit_distance(a, b) == plain_distance(a, b) == edit_distance(b, a)


def test_edit_distance_of_long_texts():
    assert edit_distance("ab" * 200, "ba" * 200) == plain_distance("ab" * 200, "ba" * 200)


@given(st.text(max_size=40), st.sampled_from(["integer", "float", "list", "text"]))
def test_every_answer_is_judged(text, kind):
    assert MATHVISTA.judge(text, free("1", kind, 2)).score in (0, 1)
    assert MATHVISTA.judge(text, choice()).score in (0, 1)


def test_skills_have_numbers_of_their_own():
    """Numeric: 1 of 2; a question of two skills counts in both."""
    more = {"details": {"question_type": "multi_choice"}, "options": OPTIONS}
    rows = [
        ("B", item("21 cm", number=0, labels=("numeric commonsense", "arithmetic"), **more)),
        ("A", item("21 cm", number=1, labels=("numeric commonsense",), **more)),
        ("A", item("21 cm", number=2, **more)),
    ]
    made = numbers(MATHVISTA, table(MATHVISTA, rows))
    assert made["accuracy (rules)"] == pytest.approx(1 / 3)
    assert made["accuracy (rules) numeric commonsense"] == 1 / 2
    assert made["accuracy (rules) arithmetic"] == 1
