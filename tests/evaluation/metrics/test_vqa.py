import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.evaluation.metrics import METRICS
from diysink.evaluation.metrics.vqa import evalai
from tests.evaluation.metrics.tables import item

VQA = METRICS["vqa"]


@pytest.mark.parametrize(
    ("answer", "normalised"),
    [
        ("Red", "red"),
        ("  red\n", "red"),
        ("dark\tred", "dark red"),
        ("dark\nred", "dark red"),
        # articles
        ("The Dog", "dog"),
        ("an apple and a pear", "apple and pear"),
        ("a", ""),
        ("then", "then"),
        # numbers
        ("two dogs", "2 dogs"),
        ("None", "0"),
        ("zero", "0"),
        ("ten", "10"),
        ("eleven", "eleven"),
        ("twenty-one", "twenty 1"),
        # contractions
        ("dont know", "don't know"),
        ("don't", "don't"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("couldntve", "couldntve"),
        ("Im", "im"),  # the published entries in upper case never match
        ("somebody'd", "somebodyd"),  # as published
        ("lets", "lets"),
        # "'s" is a word of its own
        ("man's", "man 's"),
        ("it's", "it 's"),
        # commas and question marks go
        ("1,000", "1000"),
        ("red,blue", "redblue"),
        ("red, blue", "red blue"),
        ("what?", "what"),
        # punctuation: a space beside one of its kind decides for all of them
        ("t-shirt", "t shirt"),
        ("t- shirt", "t shirt"),
        ("a-b - c-d", "ab cd"),
        ("(red)", "red"),
        ("red/blue", "red blue"),
        ("red / blue", "red blue"),
        ("#1!", "#1"),
        ("5:30", "5:30"),
        ("50%", "50%"),
        ("$5", "$5"),
        # full stops
        ("red.", "red"),
        ("u.s.", "us"),
        ("3.5", "3.5"),
        ("3. 5", "3 5"),
        (".5", ".5"),
        ("." * 32, ""),
        ("." * 33, "."),  # as published
        ("", ""),
        ("?!", ""),
        ("Я не знаю", "я не знаю"),
    ],
)
def test_normalisation(answer, normalised):
    assert evalai(answer) == normalised


@pytest.mark.parametrize(
    ("matching", "score"),
    [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (9, 1.0), (10, 1.0)],
)
def test_ten_people(matching, score):
    """Two match: left out is one of them in 2 of 10 (1/3), another in 8 (2/3): 0.6."""
    people = item("red", answers=("red",) * matching + ("blue",) * (10 - matching))
    judgement = VQA.judge("Red.", people)
    assert judgement.score == pytest.approx(score, abs=1e-12)
    assert judgement.parsed == "red"


def test_people_are_normalised_too():
    people = item("2", answers=("two", "2", "the two", "Two.", "three"))
    assert VQA.judge("2", people).score == pytest.approx(1.0)
    assert VQA.judge("3", people).score == pytest.approx((0 + 4 / 3) / 5)


def test_a_refusal_and_an_empty_answer_are_answers_like_others():
    people = item("unanswerable", answers=("unanswerable",) * 10)
    assert VQA.judge("I cannot answer that.", people).score == 0
    assert VQA.judge("", people).score == 0
    assert VQA.judge("Unanswerable", people).score == 1


@pytest.mark.parametrize("answers", [(), ("red",), ("red", "red", "red")])
def test_few_references_are_an_error(answers):
    with pytest.raises(ValueError, match="at least 4"):
        VQA.judge("red", item("red", answers=answers))


words = st.sampled_from(["red", "blue", "two", "2", "a", "Red.", "", "t-shirt", "dont"])


@given(st.lists(words, min_size=4, max_size=12), words, st.randoms())
def test_order_of_people_does_not_matter_and_it_is_the_mean_over_who_is_left_out(
    people, prediction, rng
):
    score = VQA.judge(prediction, item("x", answers=tuple(people))).score
    shuffled = rng.sample(people, len(people))
    assert VQA.judge(prediction, item("x", answers=tuple(shuffled))).score == score
    mine = evalai(prediction)
    one_out = [
        min(1, sum(evalai(other) == mine for other in people[:i] + people[i + 1 :]) / 3)
        for i in range(len(people))
    ]
    assert score == pytest.approx(sum(one_out) / len(people))
    assert 0 <= score <= 1


@given(st.text(alphabet=string.ascii_letters + " .,'-?!0123456789\n", max_size=40))
def test_case_and_space_around_do_not_matter(text):
    assert evalai(f" {text.upper()}\n") == evalai(text.upper().lower())
