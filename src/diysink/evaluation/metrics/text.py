"""Answers of a word or a sentence, against one reference: the run's own benchmarks."""

import re
import unicodedata

from diysink.evaluation.item import Item
from diysink.evaluation.metrics.base import Judgement, Metric

_SPACES = re.compile(r"\s+")
_FINAL = ".,;:!?。"
# A word: a number with its sign and decimals, or letters; apostrophes, hyphens and units within.
_WORDS = re.compile(r"(?:(?:(?<!\w)-)?\d+(?:[.,]\d+)*\w*|\w+)(?:['’-]\w+)*")


def normalize(answer: str) -> str:
    """What of an answer is compared: Unicode NFKC, lower case, single spaces, no final punctuation.

    Only punctuation at the very end goes; "3.5" and "t-shirt" keep theirs.

    >>> normalize("  Dark  GREEN. ")
    'dark green'
    """
    text = _SPACES.sub(" ", unicodedata.normalize("NFKC", answer)).strip().lower()
    return text.rstrip(_FINAL).rstrip()


def exact_match(prediction: str, reference: str) -> bool:
    """Whether the two are the same after :func:`normalize`.

    The whole answer counts: "the circle is red" does not match "red".

    >>> exact_match("Red.", "red"), exact_match("the circle is red", "red")
    (True, False)
    """
    return normalize(prediction) == normalize(reference)


def contains(prediction: str, reference: str) -> bool:
    """Whether the words of the reference stand in the answer, one after the other.

    For models that answer in sentences. It is generous: "not red" and "red or blue" contain "red".
    Words are what spaces and punctuation divide ("t-shirt" and "3.5" are one each), so it is of no
    use for languages without spaces, nor for a reference that has no words.

    >>> contains("The circle is dark red, I think.", "Dark red"), contains("It is 3.5 cm.", "3")
    (True, False)
    """
    answer, words = (_WORDS.findall(normalize(text)) for text in (prediction, reference))
    starts = range(len(answer) - len(words) + 1)
    return bool(words) and any(answer[i : i + len(words)] == words for i in starts)


class Exact(Metric):
    """`exact_match`."""

    def judge(self, prediction: str, item: Item) -> Judgement:
        """Whether the answer is one of the references."""
        right = any(exact_match(prediction, reference) for reference in item.references)
        return Judgement(float(right), normalize(prediction))


class Contains(Metric):
    """`contains`."""

    def judge(self, prediction: str, item: Item) -> Judgement:
        """Whether the answer contains one of the references."""
        right = any(contains(prediction, reference) for reference in item.references)
        return Judgement(float(right), normalize(prediction))
