"""MMBench (arXiv 2307.06281), English dev: multiple choice, once, or in every order of the options.

The published file has each question in its first order and, in most versions, in the others too:
their ``index`` is larger by a million for each turn of the options. The plain benchmark asks the
first order; the circular one all of them, and a question is right if it is in every order. Where
the file has no other orders they are made here, as the official ones are: options move up by one.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diysink.evaluation.benchmarks.published import (
    LETTERS,
    MissingFilesError,
    PublishedItems,
    Row,
    ask,
    letter_of,
    lettered,
    listed,
    optional,
    text,
)
from diysink.evaluation.benchmarks.readers import Rows, Storage, embedded, open_rows
from diysink.evaluation.item import Item
from diysink.records import ImageFile

FILES = (
    "mmbench_dev_20230712.tsv or MMBench_DEV_EN.tsv",
    "en/dev-*.parquet",
)
TURN = 1_000_000
"""What the index of a question grows by for each turn of its options."""
_SHORTEST = 64
"""Characters of base64: an image has more. Less is the index of the row that has the image."""


def mmbench(folder: Path, split: str) -> PublishedItems:
    """Every question once, in its first order. ``split`` is ``dev``."""
    rows = _rows(folder, split)
    table = _Table.of(rows)
    first = [numbers[0] for numbers in table.orders.values()]
    return _items(rows, table, [(number, 0) for number in first], circular=False)


def mmbench_circular(folder: Path, split: str) -> PublishedItems:
    """Every question in every order of its options: those of the file, or made here."""
    rows = _rows(folder, split)
    table = _Table.of(rows)
    published = any(len(numbers) > 1 for numbers in table.orders.values())
    asked = [  # in the order of the file, which is the fastest to read
        (number, turn)
        for number, options in enumerate(table.options)
        for turn in range(1 if published else options)
    ]
    return _items(rows, table, asked, circular=True)


@dataclass
class _Table:
    """What the rows are, without their images.

    Attributes:
        orders: for each question the rows that ask it, its first order before the others.
        number: of the row with an index.
        options: how many a row has.
    """

    orders: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    number: dict[int, int] = field(default_factory=dict)
    options: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, rows: Rows) -> "_Table":
        table, names = cls(), rows.only("index", *"ABCDE")
        for number in range(len(names)):
            index = int(text(names[number], "index"))
            table.orders[index % TURN].append(number)
            table.number[index] = number
            table.options.append(len(_options(names[number])))
        indices = {number: index for index, number in table.number.items()}
        for numbers in table.orders.values():
            numbers.sort(key=lambda number: indices.get(number, 0))
        return table


def _rows(folder: Path, split: str) -> Rows:
    names = (
        f"mmbench_{split}_2*.tsv",
        f"MMBench_{split.upper()}_EN.tsv",
        f"MMBench_{split.upper()}.tsv",
    )
    files = Storage(folder).find(*names, f"en/{split}-*.parquet", f"{split}-*.parquet")
    if not files:
        raise MissingFilesError(folder)
    return open_rows(files)


class _Turned:
    """Rows with how often their options are turned."""

    def __init__(self, rows: Rows, asked: list[tuple[int, int]]) -> None:
        self.name, self._rows, self._asked = rows.name, rows, asked
        self.columns = getattr(rows, "columns", None) or tuple(rows[0])

    def __len__(self) -> int:
        return len(self._asked)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        number, turn = self._asked[index]
        return {**self._rows[number], "turn": turn}

    def only(self, *columns: str) -> "_Turned":
        return _Turned(self._rows.only(*columns), self._asked)


def _items(
    rows: Rows, table: _Table, asked: list[tuple[int, int]], circular: bool
) -> PublishedItems:
    def make(row: Row, number: int) -> Item:
        index, turn, options = int(text(row, "index")), row["turn"], _options(row)
        right = LETTERS.index(letter_of(text(row, "answer"), options))
        options = options[turn:] + options[:turn]
        hint = optional(row, "hint")
        context = "" if hint is None or hint.strip().lower() == "none" else f"{hint}\n"
        return ask(
            str(index + turn * TURN),
            f"{context}{text(row, 'question')}\n{listed(options)}",
            [_image(row, rows, table)],
            LETTERS[(right - turn) % len(options)],
            options=options,
            unit=str(index % TURN) if circular else None,
            subtask=optional(row, "category"),
        )

    needs = ("index", "question", "A", "B", "answer", "image")
    return PublishedItems(_Turned(rows, asked), make, needs)


def _options(row: Row) -> tuple[str, ...]:
    options = lettered(row, "ABCDE")
    # LLaVA's own script stops at an option of this name, too: the file has it where there is none.
    empty = next((n for n, each in enumerate(options) if each.lower() == "none"), len(options))
    return options[:empty]


def _image(row: Row, rows: Rows, table: _Table) -> ImageFile:
    image = row["image"]
    if isinstance(image, str) and len(image) < _SHORTEST and image.strip().isdigit():
        number = table.number.get(int(image))
        image = image if number is None else rows[number]["image"]
    return embedded(image)
