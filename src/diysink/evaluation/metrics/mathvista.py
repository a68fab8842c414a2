"""MathVista: an answer is extracted from what the model wrote, and compared.

The published extraction asks GPT-4. Here it is by rules, and the number says so;
`diysink.evaluation.metrics.endpoint` extracts with a language model of your choice.
"""

import re
import string
from collections.abc import Callable

import pandas as pd

from diysink.evaluation.item import Item
from diysink.evaluation.metrics.base import Judgement, Metric
from diysink.evaluation.metrics.letter import options_of, stated_option
from diysink.evaluation.metrics.sums import Numbers, Sums, by_image, by_label, labels_of, share

_QUOTED = re.compile(r'The answer is "(.*)"\.')
_ANSWER = re.compile(r"answer(?:\s+is\b|\s*:)", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?:(?<!\w)-)?(?<![\w.])(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?"
)
_LIST = re.compile(r"\[[^\[\]]*\]")
_LETTER = re.compile(r"\(([a-zA-Z])\)")
Extraction = Callable[[str, Item], str | None]


def quick(prediction: str, item: Item) -> str | None:
    """What needs no extraction, as published; None: it does.

    An option's text; an integer or float where that is asked; 'The answer is "...".'.
    """
    kind = item.details.get("answer_type")
    if item.details.get("question_type") == "multi_choice" and prediction in item.options:
        return prediction
    for name, number in (("integer", int), ("float", float)):
        if kind == name:
            try:
                return str(number(prediction))
            except ValueError:
                pass
    quoted = _QUOTED.search(prediction)
    return quoted.group(1) if quoted else None


def by_rules(prediction: str, item: Item) -> str | None:
    """What an answer says, by rules of ours; None: nothing is found.

    1. `quick`.
    2. Multiple choice: the option that `stated_option` finds, or a letter in parentheses.
    3. A list: the last one in brackets.
    4. A number: the first one after the last "answer is" or "answer:", or else the last one.
    5. Text: all of it.
    """
    text = prediction.strip()
    if (found := quick(text, item)) is not None:
        return found
    if item.details.get("question_type") == "multi_choice":
        letter = stated_option(text, options_of(item))
        return letter or (text if _LETTER.search(text) else None)
    match item.details.get("answer_type"):
        case "list":
            lists = _LIST.findall(text)
            return _written_list(lists[-1]) if lists else None
        case "integer" | "float":
            return _number(text)
    return text or None


def _written_list(text: str) -> str:
    """A list as Python writes it: one space after each comma."""
    return f"[{', '.join(part.strip() for part in text[1:-1].split(','))}]"


def _number(text: str) -> str | None:
    """The number that a text states."""
    text = text.replace("−", "-")  # the minus sign
    stated = [match.end() for match in _ANSWER.finditer(text)]
    if stated and (after := _numbers(text[stated[-1] :])):
        return after[0]
    numbers = _numbers(text)
    return numbers[-1] if numbers else None


def _numbers(text: str) -> list[str]:
    return [found.replace(",", "") for found in _NUMBER.findall(text)]


class MathVista(Metric):
    """Whether the extracted answer, in the form that the question asks for, is the reference.

    The extraction becomes one of the options (a letter in parentheses or alone, or else the option
    with the smallest edit distance, which is ``guessed``), an integer, a float rounded to
    ``precision`` decimals, or stays a text; then it has to be the reference's text.

    Source: Lu et al., "MathVista" (arXiv 2310.02255), ``calculate_score.py``. The extraction by
    rules is ours, and the number is named so: it is not comparable with extraction by GPT-4.

    Args:
        extract: from the answer and the item, what the answer says; None where it says nothing.
        label: in the number's name, how it is extracted.
    """

    def __init__(self, extract: Extraction = by_rules, label: str = "rules") -> None:
        self.extract = extract
        self.headline = f"accuracy ({label})"

    def judge(self, prediction: str, item: Item) -> Judgement:
        """Whether what the answer says is the reference.

        Raises:
            ValueError: multiple choice without options.
        """
        extraction = self.extract(prediction, item)
        if item.details.get("question_type") == "multi_choice":
            said, guessed = _option(extraction, prediction, options_of(item))
            right = said in (_text(reference, item) for reference in item.references)
            return Judgement(float(right), None if guessed else said, guessed)
        value = None if extraction is None else _in_form(extraction, item)
        return Judgement(float(value in [each.strip() for each in item.references]), value)

    def totals(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Right, guessed and asked; right and asked of each skill."""
        columns = {"right": rows["correct"], "asked": rows["correct"].notna().astype(float)}
        each = by_label(rows["labels"], columns)
        return by_image(rows["image"], columns | {"guessed": rows["guessed"]} | each)

    def numbers(self, sums: Sums) -> Numbers:
        """Accuracy of all and of each skill, and the share that went to the nearest option."""
        each = {
            f"{self.headline} {skill}": share(sums[f"right {skill}"], sums[f"asked {skill}"])
            for skill in labels_of(sums, "asked")
        }
        return {
            self.headline: share(sums["right"], sums["asked"]),
            "guessed": share(sums["guessed"], sums["asked"]),
            **each,
        }


def _text(reference: str, item: Item) -> str:
    """The text of a reference option, which may be given as its letter."""
    letters = string.ascii_uppercase[: len(item.options)]
    named = len(reference) == 1 and reference in letters and reference not in item.options
    return item.options[letters.index(reference)] if named else reference


def _option(extraction: str | None, prediction: str, options: tuple[str, ...]) -> tuple[str, bool]:
    """The option that an extraction means, and whether it is only the nearest one."""
    text = (prediction if extraction is None else extraction).strip()
    if in_parentheses := _LETTER.search(text):
        text = in_parentheses.group(1).upper()
    letters = string.ascii_uppercase[: len(options)]
    if len(text) == 1 and text in letters:
        return options[letters.index(text)], False
    if text in options:
        return text, False
    return min(options, key=lambda option: edit_distance(text, option)), True


def _in_form(extraction: str, item: Item) -> str | None:
    """An extraction as the integer or float that is asked for; None: it is none."""
    try:
        match item.details.get("answer_type"):
            case "integer":
                return str(int(float(extraction)))
            case "float":
                precision = item.details.get("precision")
                return str(round(float(extraction), None if precision is None else int(precision)))
    except (ValueError, OverflowError):  # not a number, or an infinite one
        return None
    return extraction.strip()


def edit_distance(a: str, b: str) -> int:
    """Levenshtein's distance, with the bits of two integers for a column of its table.

    Source: Myers, "A fast bit-vector algorithm for approximate string matching" (1999), in
    Hyyrö's form (2003).

    >>> edit_distance("kitten", "sitting"), edit_distance("", "abc")
    (3, 3)
    """
    if not a or not b:
        return len(a) + len(b)
    where: dict[str, int] = {}
    for place, letter in enumerate(a):
        where[letter] = where.get(letter, 0) | 1 << place
    mask, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    up, down, distance = mask, 0, len(a)
    for letter in b:
        same = where.get(letter, 0)
        diagonal = (((same & up) + up) ^ up) | same | down
        right, left = down | ~(diagonal | up) & mask, up & diagonal
        distance += bool(right & last) - bool(left & last)
        right, left = (right << 1 | 1) & mask, (left << 1) & mask
        up, down = left | ~(diagonal | right) & mask, right & diagonal
    return distance
