"""VQA accuracy: agreement with ten people (VQAv2, TextVQA, VizWiz)."""

import re
from functools import lru_cache

from diysink.evaluation.item import Item
from diysink.evaluation.metrics.base import Judgement, Metric

_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't
    mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't
    she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
    someone'd've someone'll someone's something'd something'd've something'll that's there'd
    there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've
    we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've
    who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll
    y'all'd've you'd you'd've you'll you're you've
"""
# Each with one of its apostrophes missing. The published table is these, and one reversed entry.
CONTRACTIONS = {
    word[:place] + word[place + 1 :]: word
    for word in _CONTRACTED.split()
    for place, letter in enumerate(word)
    if letter == "'"
} | {"somebody'd": "somebodyd"}
_PUNCTUATION = re.compile(r'[;/\[\]"{}()=+\\_\-><@`!]')
_PERIOD = re.compile(r"\.(?!\d)")
_PERIODS = 32  # the published script takes away so many (it gives re.UNICODE where a count goes)


@lru_cache(2**16)
def evalai(answer: str) -> str:
    """An answer after EvalAI's normalisation, step by step as published.

    1. Lower case; commas and question marks go; "'s" becomes a word of its own.
    2. A punctuation mark goes where one of its kind has a space beside it, and else becomes a
       space. Colons, apostrophes, ``$`` and ``%`` stay.
    3. Full stops go, but for those before a digit.
    4. Numbers in words to ten, and "none", become digits; articles go; contractions get their
       apostrophe.

    Source: ``EvalAIAnswerProcessor`` of MMF and of LLaVA's ``m4c_evaluator.py``.

    >>> evalai("The two dogs."), evalai("dont"), evalai("t-shirt"), evalai("t- shirt")
    ('2 dogs', "don't", 't shirt', 't shirt')
    """
    text = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    spaced = text
    for mark in set(_PUNCTUATION.findall(text)):
        beside = f"{mark} " in spaced or f" {mark}" in spaced
        text = text.replace(mark, "" if beside else " ")
    text = _PERIOD.sub("", text, count=_PERIODS)
    words = [_NUMBERS.get(word, word) for word in text.split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


class Vqa(Metric):
    """VQA accuracy: min(1, n/3), n of the other people gave this answer, mean over who is left out.

    Answer and references are both normalised by `evalai`. With ten references of which n match:
    (n min(1, (n - 1)/3) + (10 - n) min(1, n/3)) / 10, so 0, 0.3, 0.6, 0.9 and 1 for 0 to 4.

    Source: Antol et al., "VQA" (arXiv 1505.00468), with the normalisation of EvalAI, as MMF,
    LLaVA's scripts and the servers for TextVQA and VizWiz have it. VQA's own ``vqaEval.py``
    differs: it does not split "'s", and normalises nothing where all ten references are the same.
    """

    def judge(self, prediction: str, item: Item) -> Judgement:
        """The share of people who agree.

        Raises:
            ValueError: fewer than four references; no answer could then be wholly right.
        """
        references = item.references
        people = len(references)
        if people < 4:
            raise ValueError(
                f"item {item.id!r} has {people} reference answers; VQA accuracy compares with what "
                "several people said, and needs at least 4. Take the metric 'exact' for one"
            )
        answer = evalai(prediction)
        matching = [evalai(reference) for reference in references].count(answer)
        left_out = matching * min(3, matching - 1) if matching else 0
        kept = (people - matching) * min(3, matching)
        return Judgement((left_out + kept) / (3 * people), answer)
