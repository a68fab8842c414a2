import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diysink.evaluation.metrics import METRICS
from diysink.evaluation.metrics.pope import SPLITS
from tests.evaluation.metrics.tables import item, numbers, table

POPE = METRICS["pope"]


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        ("yes", "yes"),
        ("Yes", "yes"),
        ("no", "no"),
        ("No", "no"),
        ("NO", "yes"),  # as published: only "No", "not" and "no"
        ("No.", "no"),
        ("No, there is not.", "no"),
        ("There is no dog.", "no"),
        ("It is not there", "no"),
        ("Not that I see", "yes"),
        ("no!", "yes"),
        ("no\n", "no"),
        ("no\nYes", "yes"),  # words are divided at spaces alone
        ("yes, but no", "no"),
        ("Yes. No.", "yes"),  # the first sentence alone
        (". No", "yes"),
        ("None", "yes"),
        ("nothing", "yes"),
        ("I cannot answer that.", "yes"),
        ("", "yes"),
        ("是", "yes"),
    ],
)
def test_first_sentence(prediction, said):
    assert POPE.judge(prediction, item("yes")) == (float(said == "yes"), said, False)
    assert POPE.judge(prediction, item("No")) == (float(said == "no"), said, False)


def answers(split, hits, alarms, misses, rejections, start=0):
    kinds = ["yes yes"] * hits + ["yes no"] * alarms + ["no yes"] * misses
    kinds += ["no no"] * rejections
    return [
        (said, item(true, number=start + i, subtask=split))
        for i, (said, true) in enumerate(kind.split() for kind in kinds)
    ]


def test_numbers_by_hand():
    """F1 2*3/(2*3+1+2) = 2/3; 2*1/(2*1+1+0) = 2/3; 2*2/(2*2+0+4) = 1/2: mean 11/18."""
    rows = table(
        POPE,
        answers("random", 3, 1, 2, 4)
        + answers("popular", 1, 1, 0, 8, start=20)
        + answers("adversarial", 2, 0, 4, 4, start=40),
    )
    made = numbers(POPE, rows)
    assert list(made)[:3] == [f"f1 {split}" for split in SPLITS]
    assert made["f1 random"][0] == pytest.approx(2 / 3)
    assert made["f1 adversarial"][0] == pytest.approx(1 / 2)
    assert made["f1"][0] == pytest.approx(11 / 18)
    assert made["accuracy"][0] == pytest.approx(22 / 30)
    assert made["precision"][0] == pytest.approx(6 / 8)
    assert made["recall"][0] == pytest.approx(6 / 12)
    # Of the predictions. Of the truth it would be 12/30.
    assert made["yes ratio"][0] == pytest.approx(8 / 30)


def test_nothing_to_count():
    made = numbers(POPE, table(POPE, answers("random", 0, 0, 0, 3)))
    assert all(np.isnan(made[name]) for name in ("f1", "precision", "recall"))
    assert (made["yes ratio"], made["accuracy"]) == (0, 1)
    assert numbers(POPE, table(POPE, answers("random", 0, 0, 2, 3)))["f1"] == 0
    assert "f1 popular" not in made


def test_errors():
    with pytest.raises(ValueError, match="yes or no"):
        POPE.judge("yes", item("maybe"))
    with pytest.raises(ValueError, match="adversarial"):
        POPE.totals(table(POPE, [("yes", item("yes", subtask="other"))]))


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from(["yes", "no"]), st.sampled_from(["yes", "no"])), min_size=1),
    st.randoms(),
)
def test_order_does_not_matter_duplicates_do_not_and_all_is_within_bounds(pairs, rng):
    answered = [
        (said, item(true, number=i % 5, subtask=SPLITS[i % 3]))
        for i, (said, true) in enumerate(pairs)
    ]
    made = numbers(POPE, table(POPE, answered))
    again = numbers(POPE, table(POPE, rng.sample(answered * 2, 2 * len(answered))))
    for name, value in made.items():
        assert again[name] == pytest.approx(value, nan_ok=True)
        assert np.isnan(value) or 0 <= value <= 1
