"""ScienceQA: the letter of an option, as LLaVA's script reads it."""

import re

from diysink.evaluation.item import Item
from diysink.evaluation.metrics.base import Judgement, Metric

_LETTERS = "ABCDE"
_SENTENCE = re.compile(r"The answer is ([A-Z]).")  # the published one: any character may follow


def stated_letter(prediction: str) -> str | None:
    """The letter that an answer states, in the first of these forms; None: it states none.

    1. The letter alone, A to E.
    2. The letter, a full stop and a space at the beginning: "B. a magnet".
    3. "The answer is B." exactly once; some character has to follow the letter.

    Lower case does not count, and neither do "(B)" and "B." with nothing after it.

    >>> stated_letter("B"), stated_letter("B. a magnet"), stated_letter("The answer is B.")
    ('B', 'B', 'B')
    """
    text = prediction.strip()
    if len(text) == 1 and text in _LETTERS:
        return text
    if text[1:3] == ". " and text[0] in _LETTERS:
        return text[0]
    stated = _SENTENCE.findall(text)
    return stated[0] if len(stated) == 1 else None


class ScienceQa(Metric):
    """Whether the letter of `stated_letter` is the reference; where there is none, it is wrong.

    Source: LLaVA's ``eval_science_qa.py``, which does not guess (ScienceQA's own script does).
    """

    def judge(self, prediction: str, item: Item) -> Judgement:
        """Whether the stated letter is right."""
        letter = stated_letter(prediction)
        return Judgement(float(letter in item.references), letter)
