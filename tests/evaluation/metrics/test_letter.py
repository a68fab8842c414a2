import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.evaluation.metrics import METRICS
from diysink.evaluation.metrics.letter import stated_option
from tests.evaluation.metrics.tables import item, numbers, table

OPTIONS = ("a cat", "a dog", "the blue bird")  # 23 characters


@pytest.mark.parametrize(
    ("prediction", "letter"),
    [
        ("B", "B"),
        ("B.", "B"),
        ("(B)", "B"),
        ("B: a dog", "B"),
        ("b", None),  # lower case
        ("D", None),  # not an option
        ("The answer is B", "B"),
        ("The best of all answers is: B", "B"),
        ("B is the right answer", None),  # five words, the letter is the first
        ("B is the answer", "B"),  # four
        ("B is right, as a dog stands there", "B"),  # by its text
        ("A or B", None),  # several letters
        ("A or B: a dog", "B"),  # several letters, one text
        ("A dog", "A"),  # upper case: the article reads as the letter
        ("It is a dog.", "B"),  # the text
        ("A CAT, I SAY", "A"),
        ("it is a CAT", "A"),
        ("a cat and a dog", None),  # two texts
        ("Z", None),
        ("Z: a dog", None),  # none of them, said so
        ("it is a dog" + " indeed" * 6, None),  # 53 characters: too long for its text
        ("it is a dog" + " indeed" * 5, "B"),  # 46
        ("Cannot determine the answer", None),
        ("I'm sorry, but without the image provided it may be B", None),
        ("no", None),
        ("", None),
        ("这是B", None),
        ("选 B。", None),  # a Chinese full stop is not taken out
        ("选 B", "B"),
    ],
)
def test_the_option_that_is_stated(prediction, letter):
    assert stated_option(prediction, OPTIONS) == letter
    judgement = METRICS["letter"].judge(prediction, item("B", options=OPTIONS))
    assert judgement == (float(letter == "B"), letter, False)


@pytest.mark.parametrize("options", [(), ("x",) * 27])
@pytest.mark.parametrize("name", ["letter", "mmbench", "mmstar", "vstar"])
def test_no_options_is_an_error(name, options):
    with pytest.raises(ValueError, match="between 1 and 26"):
        METRICS[name].judge("A", item("A", options=options))


@given(st.text(alphabet="ABCZ abc.,()catdog", max_size=30))
def test_a_letter_of_the_options_or_nothing(text):
    assert stated_option(text, OPTIONS) in (None, "A", "B", "C")


@pytest.mark.parametrize(
    ("prediction", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("B. a dog", "B"),
        ("blue", "B"),  # whatever follows
        ("(b) a dog", "B"),
        ("(", None),
        ("Option B", "B"),
        ("option: B", None),
        ("The answer is\nB", "B"),
        ("the answer is", None),
        ("The answer is: B", None),
        ("It is B", None),
        ("d", None),  # three options
        ("", None),
        ("是", None),
    ],
)
def test_beginnings_that_mmstar_reads(prediction, letter):
    judgement = METRICS["mmstar"].judge(prediction, item("B", options=OPTIONS))
    assert judgement == (float(letter == "B"), letter, False)


def asked(right, number, **more):
    return ("A" if right else "B"), item("A", number=number, options=OPTIONS, **more)


def test_mmstar_over_questions_and_over_categories():
    """coarse: 3 of 4, math: 0 of 1. Over questions 3/5, over categories 3/8."""
    rows = [asked(i != 3, i, subtask="coarse") for i in range(4)] + [asked(0, 4, subtask="math")]
    made = numbers("mmstar", table("mmstar", rows))
    assert made["accuracy"] == 3 / 5
    assert made["accuracy (lmms-eval)"] == 3 / 8
    assert (made["accuracy coarse"], made["accuracy math"]) == (3 / 4, 0)
    alone = numbers("mmstar", table("mmstar", [asked(1, 0)]))
    assert alone == {"accuracy": 1, "accuracy (lmms-eval)": 1}


def test_vstar_by_kind_of_question():
    rows = [asked(1, 0, subtask="direct_attributes"), asked(0, 1, subtask="relative_position")]
    made = numbers("vstar", table("vstar", [*rows, asked(0, 2, subtask="relative_position")]))
    assert made["accuracy"] == pytest.approx(1 / 3)
    assert made["accuracy direct_attributes"] == 1
    assert made["accuracy relative_position"] == 0


def test_cvbench_is_the_mean_of_2d_and_3d():
    """ADE20K 1 of 2, COCO 1 of 1: 2D 3/4. Omni3D 0 of 1. Accuracy 3/8, not 2/4."""
    rows = [
        asked(right, i, labels=(source,))
        for i, (source, right) in enumerate(
            [("ADE20K", 1), ("ADE20K", 0), ("COCO", 1), ("Omni3D", 0)]
        )
    ]
    made = numbers("cvbench", table("cvbench", rows))
    assert (made["accuracy 2D"], made["accuracy 3D"], made["accuracy"]) == (3 / 4, 0, 3 / 8)
    flat = numbers("cvbench", table("cvbench", rows[:2]))
    assert (flat["accuracy 2D"], flat["accuracy"]) == (1 / 2, 1 / 2)
