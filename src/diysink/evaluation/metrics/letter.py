"""Multiple choice: which option an answer states (CV-Bench, MMStar, V*, MMBench)."""

import string

import pandas as pd

from diysink.evaluation.item import Item
from diysink.evaluation.metrics.base import Judgement, Metric
from diysink.evaluation.metrics.sums import (
    Numbers,
    Sums,
    by_image,
    by_label,
    labels_of,
    mean_there,
    share,
)

_MARKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_NEAR_END = 4  # words: a letter further from the end may be an article, or about another option


def options_of(item: Item) -> tuple[str, ...]:
    """The options of a multiple-choice item.

    Raises:
        ValueError: it has none, or more than there are letters.
    """
    if not 0 < len(item.options) <= len(string.ascii_uppercase):
        raise ValueError(
            f"item {item.id!r} has {len(item.options)} options; a multiple-choice question has "
            "between 1 and 26, in the order A, B, C, ..."
        )
    return item.options


def stated_option(prediction: str, options: tuple[str, ...]) -> str | None:
    """The letter of the option that an answer states; None: none, or it cannot be told.

    1. A refusal that GPT-4V is known to give states none.
    2. Punctuation is taken out. If just one of the letters is a word of the answer (in upper case),
       and is among its last four words, it is that. The word "Z" alone says: none.
    3. Otherwise, if just one option's text is part of the answer (case does not count), and the
       answer is at most twice as long as all options together, it is that.

    Source: VLMEvalKit's ``can_infer``, "exact matching": no language model is asked.

    >>> stated_option("It is (B).", ("cat", "dog")), stated_option("a dog", ("cat", "dog"))
    ('B', 'B')
    """
    if any(refusal in prediction for refusal in _REFUSALS):
        return None
    letters = string.ascii_uppercase[: len(options)]
    words = prediction.translate(_MARKS).split()
    stated = [letter for letter in letters if letter in words]
    if len(stated) == 1 and words.index(stated[0]) >= len(words) - _NEAR_END:
        return stated[0]
    if not stated and "Z" in words:
        return None
    if len(prediction) > 2 * sum(map(len, options)):
        return None
    answer = prediction.lower()
    named = [
        letter for letter, option in zip(letters, options, strict=True) if option.lower() in answer
    ]
    return named[0] if len(named) == 1 else None


class Letter(Metric):
    """Whether the option that an answer states (`stated_option`) is the reference letter."""

    def judge(self, prediction: str, item: Item) -> Judgement:
        """Whether the stated option is right.

        Raises:
            ValueError: the item has no options.
        """
        letter = stated_option(prediction, options_of(item))
        return Judgement(float(letter in item.references), letter)


class LetterBySubtask(Letter):
    """`Letter`, over all questions and in each subtask.

    Source: V* (Wu and Xie, arXiv 2312.14135) reports its two kinds of question and all. Its own
    script compares the likelihoods of options; answers in words are read here as in VLMEvalKit.
    """

    label = "subtask"

    def totals(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Right and asked, of all and of each label."""
        columns = {"right": rows["correct"], "asked": rows["correct"].notna().astype(float)}
        return by_image(rows["image"], columns | by_label(rows[self.label], columns))

    def numbers(self, sums: Sums) -> Numbers:
        """Accuracy of all and of each label."""
        each = {
            f"accuracy {label}": share(sums[f"right {label}"], sums[f"asked {label}"])
            for label in labels_of(sums, "asked")
        }
        return {"accuracy": share(sums["right"], sums["asked"]), **each}


class CvBench(LetterBySubtask):
    """CV-Bench: the mean of 2D and 3D, where 2D is the mean of ADE20K and COCO.

    ``accuracy 2D``, ``accuracy 3D`` (Omni3D) and each source are numbers as well. Where an image is
    from is the item's label.

    Source: Tong et al., "Cambrian-1" (arXiv 2406.16860), and the data set's card.
    """

    label = "labels"

    def numbers(self, sums: Sums) -> Numbers:
        """Accuracy: mean of 2D and 3D, or the one that was asked."""
        each = super().numbers(sums)
        nothing = share(sums["right"], 0 * sums["asked"])
        ade, coco, omni = (
            each.get(f"accuracy {source}", nothing) for source in ("ADE20K", "COCO", "Omni3D")
        )
        flat = mean_there([ade, coco])
        return {
            **each,
            "accuracy 2D": flat,
            "accuracy 3D": omni,
            "accuracy": mean_there([flat, omni]),
        }


class MmStar(LetterBySubtask):
    """MMStar: the beginning of an answer, in lower case, is the letter.

    It is right if it begins with the letter, with the letter in parentheses, with "option" and the
    letter or with "the answer is" and the letter. Whatever follows does not count, so that "apple"
    is A. ``accuracy`` is over all questions, as published (the six capabilities have 250 each);
    ``accuracy (lmms-eval)`` is the mean over the finer categories (``subtask``).

    Source: Chen et al., "MMStar" (arXiv 2403.20330), its evaluation script.
    """

    def judge(self, prediction: str, item: Item) -> Judgement:
        """Whether the answer begins with the right letter."""
        letters = string.ascii_uppercase[: len(options_of(item))]
        answer = prediction.strip().lower().replace("\n", " ")
        places = (("", 0), ("(", 1), ("option ", 7), ("the answer is ", 14))
        found = [answer[at : at + 1].upper() for start, at in places if answer.startswith(start)]
        stated = next((letter for letter in reversed(found) if letter and letter in letters), None)
        return Judgement(float(stated in item.references), stated)

    def numbers(self, sums: Sums) -> Numbers:
        """Accuracy of all, of each category, and their mean."""
        each = super().numbers(sums)
        finer = [value for name, value in each.items() if name != "accuracy"]
        mean = mean_there(finer) if finer else each["accuracy"]
        return {"accuracy": each["accuracy"], "accuracy (lmms-eval)": mean} | each
