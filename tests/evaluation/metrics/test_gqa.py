import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diysink.evaluation.metrics import METRICS
from tests.evaluation.metrics.tables import item, numbers, table

GQA = METRICS["gqa"]
CASES = [  # prediction, reference, right as LLaVA says, right as lmms-eval says
    ("table", "table", 1, 1),
    ("Table", "table", 1, 1),
    ("table.", "table", 1, 1),
    ("table...", "table", 1, 1),
    (" table\n", "table", 1, 0),  # lmms-eval leaves spaces where they are
    ("table!", "table", 0, 1),
    ("t-shirt", "t shirt", 0, 0),
    ("tshirt", "t-shirt", 0, 1),
    ("the table", "table", 0, 0),
    ("table .", "table", 0, 0),  # the space before the full stop stays, in both
    ("", "table", 0, 0),
    ("...", "yes", 0, 0),
    ("I cannot say", "yes", 0, 0),
    ("yes, but no", "yes", 0, 0),
    ("Стол", "стол", 1, 1),
]


@pytest.mark.parametrize(("prediction", "reference", "llava", "relaxed"), CASES)
def test_both_conventions(prediction, reference, llava, relaxed):
    asked = item(reference)
    assert GQA.judge(prediction, asked).score == llava
    made = numbers(GQA, table(GQA, [(prediction, asked)]))
    assert made["accuracy"] == [llava]
    assert made["accuracy (lmms-eval)"] == [relaxed]


def test_over_all_cases():
    rows = table(GQA, [(p, item(r, number=i)) for i, (p, r, _, _) in enumerate(CASES)])
    made = numbers(GQA, rows)
    assert made["accuracy"][0] == pytest.approx(sum(c[2] for c in CASES) / len(CASES))
    assert made["accuracy (lmms-eval)"][0] == pytest.approx(sum(c[3] for c in CASES) / len(CASES))


@settings(deadline=None, max_examples=25)
@given(st.text(max_size=20))
def test_what_is_equal_is_right_in_both(text):
    answer = text.strip().rstrip(".").lower()
    rows = table(GQA, [(answer, item(answer))])
    if answer == answer.strip().rstrip(".").lower():
        assert numbers(GQA, rows)["accuracy"] == 1
    assert numbers(GQA, rows)["accuracy (lmms-eval)"] == 1
