import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.metrics.tables import item, numbers, table

OPTIONS = ("a cat", "a dog")


def question(unit, *right, start=0, **more):
    """A question in every order; about one image."""
    asked = {"image": start, "options": OPTIONS, "unit": unit} | more
    return [
        ("A" if each else "B", item("A", number=start + i, **asked)) for i, each in enumerate(right)
    ]


def test_a_question_is_right_in_every_order_or_not_at_all():
    """First 2 of 2, second 3 of 4, third 0 of 2: 1 of 3 questions, 5 of 8 orders."""
    rows = table(
        "mmbench-circular",
        question("1", 1, 1, subtask="x")
        + question("2", 1, 1, 1, 0, start=10, subtask="x")
        + question("3", 0, 0, start=20, subtask="y"),
    )
    made = numbers("mmbench-circular", rows)
    assert made["accuracy"] == pytest.approx(1 / 3)
    assert made["accuracy (single)"] == pytest.approx(5 / 8)


def test_a_row_without_a_unit_is_a_question_of_its_own():
    made = numbers("mmbench-circular", table("mmbench-circular", question(None, 1, 0, 1)))
    assert made["accuracy"] == made["accuracy (single)"] == pytest.approx(2 / 3)


def test_plain_mmbench_counts_every_row():
    made = numbers("mmbench", table("mmbench", question("1", 1, 1, 0)))
    assert made == {"accuracy": pytest.approx(2 / 3)}


def test_hrbench_is_the_mean_over_orders():
    rows = question("1", 1, 0, subtask="single") + question("2", 1, 1, start=9, subtask="cross")
    made = numbers("hrbench", table("hrbench", rows))
    assert made["accuracy"] == 3 / 4
    assert (made["accuracy single"], made["accuracy cross"]) == (1 / 2, 1)
    assert made["circular"] == 1 / 2


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=1, max_size=8), st.randoms()
)
def test_order_does_not_matter_and_whole_questions_are_the_harder_ones(questions, rng):
    answered = [
        row for i, right in enumerate(questions) for row in question(f"{i}", *right, start=4 * i)
    ]
    made = numbers("mmbench-circular", table("mmbench-circular", answered))
    shuffled = table("mmbench-circular", rng.sample(answered, len(answered)))
    again = numbers("mmbench-circular", shuffled)
    assert all(again[name] == pytest.approx(value) for name, value in made.items())
    whole = sum(all(right) for right in questions) / len(questions)
    assert made["accuracy"] == pytest.approx(whole)
    if len(set(map(len, questions))) == 1:
        assert made["accuracy"] <= made["accuracy (single)"] + 1e-12
