"""MMMU: multiple choice and open questions, read by its official parser."""

import random
import re
import string
from functools import lru_cache

import pandas as pd

from diysink.evaluation.item import Item
from diysink.evaluation.metrics.base import Judgement, Metric
from diysink.evaluation.metrics.letter import options_of
from diysink.evaluation.metrics.sums import Numbers, Sums, by_image, share

_ENDS = (",", ".", "!", "?", ";", ":", "'")
_WORDS = 5  # an answer of more is searched for the options' texts
_INDICATORS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)
_Value = str | float


def chosen_letter(prediction: str, options: tuple[str, ...]) -> str | None:
    """The letter that an answer chooses; None: it chooses none.

    Marks at both ends go first, one kind after the other: , . ! ? ; : '. Then the first of these
    that finds anything; where it finds several, the one that stands last:

    1. A letter in parentheses.
    2. A letter between spaces (or at an end).
    3. In an answer of more than five words: an option's text; case does not count.

    >>> chosen_letter("(A) or (B)?", ("cat", "dog")), chosen_letter("b", ("cat", "dog"))
    ('B', None)
    """
    text = prediction
    for mark in _ENDS:
        text = text.strip(mark)
    text = f" {text} "
    letters = string.ascii_uppercase[: len(options)]
    for form in ("({})", " {} "):
        places = {letter: text.rfind(form.format(letter)) for letter in letters}
        if max(places.values()) >= 0:
            return max(places, key=lambda letter: places[letter])
    if len(text.split()) <= _WORDS:
        return None
    lower = text.lower()
    ends = [lower.rfind(option.lower()) for option in options]
    return letters[ends.index(max(ends))] if max(ends) >= 0 else None


def guess(item: Item) -> str:
    """A letter drawn for an item; the same one in every run and for every model."""
    return random.Random(item.id).choice(string.ascii_uppercase[: len(options_of(item))])


@lru_cache(2**14)
def comparable(text: str) -> tuple[_Value, ...]:
    """What is compared: a number to two decimals, or lower case.

    A single character stands for itself with a space before or after it, as it would be found in
    most answers.
    """
    text = text.strip()
    try:
        return (round(float(text.replace(",", "")), 2),)
    except ValueError:
        text = text.lower()
    return (f" {text}", f"{text} ") if len(text) == 1 else (text,)


def key_responses(prediction: str) -> list[str]:
    """The parts of an open answer that may be the answer itself, at least one.

    Of each line what follows the last "is ", "so ", "answer ", ... (or "=", on the last line),
    whichever leaves the shortest text; the whole answer where no line has one of them.
    """
    answer = prediction.strip().strip(".").lower()
    lines = answer.split("\n")
    found = []
    for number, line in enumerate(lines, 1):
        indicators = (*_INDICATORS, "=") if number == len(lines) else _INDICATORS
        tails = [line.split(each)[-1].strip() for each in indicators if each in line]
        # As published: an empty text is given up for the next one, whatever its length.
        shortest = ""
        for tail in tails:
            if not shortest or len(tail) < len(shortest):
                shortest = tail
        if shortest and shortest not in _ENDS:
            found.append(shortest)
    return found or [answer]


def matches(prediction: str, references: tuple[str, ...]) -> bool:
    """Whether an open answer has a reference: a number equal to it, or a text that contains it."""
    keys = key_responses(prediction)
    numbers = [number for key in keys for form in _NUMBERS for number in form.findall(key)]
    given = {value for text in (*keys, *numbers) for value in comparable(text)}
    wanted = [value for reference in references for value in comparable(reference)]
    return any(
        isinstance(want, str) and want in value if isinstance(value, str) else want == value
        for value in given
        for want in wanted
    )


class Mmmu(Metric):
    """Accuracy over all questions, and the share for which a letter was drawn (``guessed``).

    Multiple choice (``question_type`` "multiple-choice"): `chosen_letter`; where it is None, a
    letter is drawn (`guess`), as published; here the draw depends on the item's id alone, so that
    neither the order of items nor the model changes it. Open questions ("open"): `matches`.

    Source: Yue et al., "MMMU" (arXiv 2311.16502), ``eval_utils.py``.
    """

    def judge(self, prediction: str, item: Item) -> Judgement:
        """Whether the letter is right, or the open answer has a reference.

        Raises:
            ValueError: another type of question, or multiple choice without options.
        """
        match kind := item.details.get("question_type"):
            case "multiple-choice":
                letter = chosen_letter(prediction, options_of(item))
                answer = guess(item) if letter is None else letter
                return Judgement(float(answer in item.references), letter, letter is None)
            case "open":
                right = matches(prediction, item.references)
                return Judgement(float(right), "; ".join(key_responses(prediction)))
        raise ValueError(
            f"the question_type of item {item.id!r} is {kind!r}; expected 'multiple-choice' or "
            "'open' in its details"
        )

    def totals(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Right, guessed and asked."""
        columns = {
            "right": rows["correct"],
            "guessed": rows["guessed"],
            "asked": rows["correct"].notna(),
        }
        return by_image(rows["image"], columns)

    def numbers(self, sums: Sums) -> Numbers:
        """Accuracy and the share of guesses."""
        return {
            "accuracy": share(sums["right"], sums["asked"]),
            "guessed": share(sums["guessed"], sums["asked"]),
        }
