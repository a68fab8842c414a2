"""Items made of published rows, one when it is asked for, and what all loaders need for that."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from diysink.evaluation.benchmarks.readers import Rows
from diysink.evaluation.item import Item
from diysink.records import PLACEHOLDER, BadItemError, ImageFile, Reason, SourceError, Turn
from diysink.records.rejection import excerpt

Row = Mapping[str, Any]
LETTERS = ascii_uppercase


class MissingFilesError(SourceError):
    """The folder has none of the files in which a benchmark is published."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} has none of the benchmark's files")


class PublishedItems:
    """The items that published rows become.

    Args:
        rows: their source.
        make: an item from a row and its number.
        needs: columns that every row must have.

    Raises:
        SourceError: a column is missing.
    """

    def __init__(
        self,
        rows: Rows,
        make: Callable[[Row, int], Item],
        needs: Sequence[str] = (),
    ) -> None:
        self._rows, self._make = rows, make
        known = getattr(rows, "columns", None) or tuple(rows[0])
        if missing := [name for name in needs if name not in known]:
            raise SourceError(
                f"{rows.name} has no {', '.join(missing)}; it has "
                f"{', '.join(map(str, known))[:300]}"
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int, /) -> Item:
        number = range(len(self))[index]
        row = self._rows[number]
        try:
            return self._make(row, number)
        except KeyError as error:
            raise SourceError(f"{self._rows.name}, row {number}: it has no {error}") from error
        except BadItemError as error:
            raise SourceError(f"{self._rows.name}, row {number}: {error}") from error


class Chained:
    """Several parts of a benchmark, one after the other."""

    def __init__(self, *parts: PublishedItems) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def __getitem__(self, index: int, /) -> Item:
        number = range(len(self))[index]
        for part in self._parts:
            if number < len(part):
                return part[number]
            number -= len(part)
        raise IndexError(index)


def ask(
    name: str, question: str, images: Sequence[ImageFile], answer: str | None, **more: Any
) -> Item:
    """An item: the images, then the question, as LLaVA asks; placeholders in the text are words.

    Args:
        name: the item's id.
        question: without what the benchmark adds to every question.
        images: that come first. A question that places them itself is not for this function.
        answer: the reference; None: it is not public.
        more: other fields of `Item`.

    Raises:
        BadItemError: no question, or no answer.
    """
    text = question.replace(PLACEHOLDER, "").strip()
    return placed(name, f"{PLACEHOLDER}\n" * len(images) + text, images, answer, **more)


def placed(
    name: str, question: str, images: Sequence[ImageFile], answer: str | None, **more: Any
) -> Item:
    """An item whose question has a placeholder for each image where it belongs; see `ask`."""
    if not question.replace(PLACEHOLDER, "").strip():
        raise BadItemError(Reason.EMPTY_QUESTION, f"{excerpt(name)} has no question")
    if not answer or not answer.strip():
        raise BadItemError(
            Reason.EMPTY_ANSWER,
            f"{excerpt(name)} has no reference answer; those of most test splits are not public: "
            "take the validation split",
        )
    turns = (Turn("human", question), Turn("gpt", answer))
    return Item(id=name, images=tuple(images), conversations=turns, **more)


def text(row: Row, key: str) -> str:
    """A text, or a number as text.

    Raises:
        KeyError: no such column.
        BadItemError: another type, or nothing.
    """
    match row[key]:
        case str() as value if value.strip():
            return value
        case int() as value if not isinstance(value, bool) and value.bit_length() <= 128:
            return str(value)
        case float() as value if value == value:
            return f"{value:g}"
        case value:
            raise BadItemError(Reason.WRONG_TYPE, f"{key} is {excerpt(value)}, not a text")


def optional(row: Row, key: str) -> str | None:
    """A text, or a number as text; None where there is nothing (``nan`` is what pandas writes)."""
    value = row.get(key)
    nothing = value is None or value != value
    if nothing or (isinstance(value, str) and value.strip().lower() in ("", "nan")):
        return None
    return text(row, key)


def texts(row: Row, key: str) -> tuple[str, ...]:
    """A list of texts, or of ``{"answer": text}`` as VQA has them; nothing: ()."""
    value = row.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadItemError(Reason.WRONG_TYPE, f"{key} is {excerpt(value)}, not a list")
    found = []
    for each in value:
        entry = each.get("answer") if isinstance(each, Mapping) else each
        if not isinstance(entry, str):
            raise BadItemError(Reason.WRONG_TYPE, f"{key} has {excerpt(entry)} in it, not a text")
        found.append(entry)
    return tuple(found)


def most_common(answers: Sequence[str]) -> str | None:
    """The answer most often given, the first of several; None where there is none."""
    return Counter(answers).most_common(1)[0][0] if answers else None


def lettered(row: Row, letters: str = "ABCD") -> tuple[str, ...]:
    """Options in columns A, B, C, ..., up to the first that is empty."""
    found = []
    for letter in letters:
        if (option := optional(row, letter)) is None:
            break
        found.append(option)
    return tuple(found)


def letter_of(answer: str, options: Sequence[str]) -> str:
    """The letter of a reference such as ``B``, ``(B)`` or ``b``.

    Raises:
        BadItemError: it is none of the options.
    """
    letter = answer.strip().strip("()").upper()
    if len(letter) != 1 or letter not in LETTERS[: len(options)]:
        raise BadItemError(
            Reason.WRONG_TYPE, f"the answer is {excerpt(answer)}, of {len(options)} options"
        )
    return letter


def listed(options: Sequence[str], style: str = "{letter}. {option}") -> str:
    """Options as lines, each with its letter."""
    pairs = zip(LETTERS, options, strict=False)
    return "\n".join(style.format(letter=letter, option=option) for letter, option in pairs)
