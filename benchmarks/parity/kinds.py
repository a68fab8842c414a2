"""Why lmms-eval judges otherwise: the kinds of differences, each with what it looks like.

A kind is told from the prediction and what the two sides read in it. A difference of no kind is an
error of one of the two, and `lmms_eval_parity.py` fails.
"""

import re
import string
from collections.abc import Callable
from typing import Any, NamedTuple


class Difference(NamedTuple):
    """One case that is judged in two ways; ``ours`` and ``theirs`` are what was read."""

    case: dict[str, Any]
    ours: str | None
    theirs: str | None

    @property
    def text(self) -> str:
        return str(self.case["prediction"])


class Kind(NamedTuple):
    """A kind of difference: the rule that differs, and which differences are of it."""

    rule: str
    applies: Callable[[Difference], bool]


_TOO_FEW = Kind(
    "VLMEvalKit does not count a letter that has more than three words after it, several letters, "
    "or a refusal; lmms-eval's fallback takes any letter of the text",
    lambda d: d.ours is None and d.theirs is not None,
)

KINDS: dict[str, tuple[Kind, ...]] = {
    "vqav2": (
        Kind(
            "EvalAI's normalisation takes commas and question marks out and splits \"'s\" first; "
            "lmms-eval leaves that step out for VQAv2 (not for TextVQA and VizWiz)",
            lambda d: any(
                mark in text for text in (d.text, *d.case["answers"]) for mark in (",", "?", "'s")
            ),
        ),
    ),
    "gqa": (
        Kind(
            "LLaVA strips spaces around an answer; lmms-eval keeps them",
            lambda d: d.text != d.text.strip(),
        ),
        Kind(
            "LLaVA takes full stops at the end away; lmms-eval all punctuation (ours gives that "
            "number too, as 'accuracy (lmms-eval)')",
            lambda d: bool(set(d.text + d.case["reference"]) & set(string.punctuation)),
        ),
    ),
    "pope": (
        Kind(
            "POPE reads the first sentence for a no, in three spellings; lmms-eval wants the whole "
            "answer to be yes or no, in any case",
            lambda d: d.text.strip().lower() not in ("yes", "no") or d.text.strip() == "NO",
        ),
    ),
    "mme": (
        Kind("lmms-eval takes 'y' for yes and 'n' for no", lambda d: len(d.text.strip(". ")) == 1),
        Kind(
            "MME reads the first four characters; lmms-eval takes full stops out first",
            lambda d: "." in d.text,
        ),
    ),
    "scienceqa": (
        Kind(
            "LLaVA does not read a letter in lower case; lmms-eval does",
            lambda d: d.text.strip() in tuple("abcde"),
        ),
        Kind(
            "LLaVA wants a space after 'B.'; lmms-eval does not",
            lambda d: re.match(r"[A-Z]\.(?! )", d.text.strip()) is not None,
        ),
        Kind(
            "LLaVA reads 'The answer is B.'; lmms-eval does not",
            lambda d: len(re.findall(r"The answer is [A-Z].", d.text)) == 1,
        ),
    ),
    "mmmu": (
        Kind(
            "MMMU's parser wants a space on both sides of a letter; lmms-eval reads 'B.' as well",
            lambda d: re.search(r"[A-D]\.", d.text) is not None,
        ),
        Kind(
            "MMMU's parser wants a space on both sides of a letter; lmms-eval one after it, so "
            "that the last letter of a word or the first of a line counts",
            lambda d: re.search(r"[^ ][A-D]( |$)", d.text) is not None,
        ),
    ),
    "mmbench": (
        Kind(
            "lmms-eval takes 'A' in an answer of more than three words for an article",
            lambda d: d.ours == "A" and len(d.text.split()) > 3,
        ),
        _TOO_FEW,
        Kind(
            "VLMEvalKit takes punctuation out before it looks for letters; lmms-eval looks for "
            "letters in the forms 'B.', '(B)', ... one after the other",
            lambda d: d.ours is not None and d.theirs is not None,
        ),
    ),
    "hrbench": (
        Kind(
            "VLMEvalKit has come to ask that a letter is among the last four words, and that an "
            "answer is not longer than twice all options; lmms-eval has an older version",
            lambda d: len(d.text.split()) > 4,
        ),
    ),
    "mmstar": (
        Kind(
            "MMStar reads the beginning of an answer alone; lmms-eval looks everywhere",
            lambda d: d.ours is None and d.theirs is not None,
        ),
        Kind(
            "MMStar reads lower case, and whatever word begins with the letter; lmms-eval wants "
            "upper case",
            lambda d: d.ours is not None and d.ours.lower() in d.text,
        ),
        Kind(
            "MMStar takes the letter at the beginning; lmms-eval the last one of its best form",
            lambda d: d.theirs is not None,
        ),
    ),
    "cvbench": (
        Kind(
            "lmms-eval takes the first character of an answer, in any case, whatever word it "
            "begins; here as in VLMEvalKit: a letter that is a word, or an option's text",
            lambda d: (
                d.theirs == (re.match(r"[(\s]*([A-Za-z]?)", d.text.strip()) or [""])[1].upper()
                or d.theirs is None
            ),
        ),
    ),
    "vstar": (
        Kind(
            "V* compares likelihoods of options, and has no rule for answers in words. lmms-eval "
            "has its own, which reads lower case and letters within words; here as in VLMEvalKit: "
            "a letter that is a word among the last four, or an option's text",
            lambda d: d.ours != d.theirs,
        ),
    ),
}
"""By benchmark; the first that applies."""


def kind_of(benchmark: str, difference: Difference) -> str | None:
    """The rule that explains a difference; None: no rule does."""
    for kind in KINDS.get(benchmark, ()):
        if kind.applies(difference):
            return kind.rule
    return None
