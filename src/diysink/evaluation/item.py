"""A question of a benchmark: a record, and what its metric needs to judge an answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from diysink.records import Record, answer_of


@dataclass(frozen=True)
class Item(Record):
    """A record with its reference answers.

    The record's own answer (the turn of ``gpt``) is the one that tables show, and whose likelihood
    is measured. Of a multiple-choice question it is the letter.

    Attributes:
        answers: all reference answers, such as the ten of VQA; empty: the record's own.
        options: of a multiple-choice question, in the order A, B, C, ...
        unit: what is judged as a whole with this item (the other question about an image of MME,
            the other orders of a question of MMBench); None: nothing.
        labels: others than its subtask, by which a metric gives numbers of their own: MathVista's
            skills, where an image of CV-Bench is from.
        details: what else its metric reads, such as MathVista's ``answer_type``; JSON values.
    """

    answers: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    unit: str | None = None
    labels: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Record) -> "Item":
        """A record as an item: itself, or with its own answer as the only reference."""
        if isinstance(record, cls):
            return record
        return cls(**{each.name: getattr(record, each.name) for each in fields(record)})

    @property
    def references(self) -> tuple[str, ...]:
        """The reference answers, at least one."""
        return self.answers or (answer_of(self),)
