"""Settings of the ``evaluate`` stage; explained in ``conf/base/parameters_evaluate.yml``."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from diysink.connector import Arrangement
from diysink.selection import CoTTemplates
from pipelines.problems import ContradictionError, Problem
from pipelines.schema import Entries, Level, Metric, Name, Pair, Settings, Text

if TYPE_CHECKING:
    from diysink.evaluation.benchmarks import Benchmark


class Variant(Settings):
    """A fine-tuned model, an arrangement (None: as trained) and a selection.

    ``control: random-matched`` puts as many random nonsinks in place of the sinks.
    """

    connector: Text
    arrangement: Arrangement | None
    selection: Text
    control: Literal["none", "random-matched"] = "none"


class BenchmarkChange(Settings):
    """What is changed of a row of `diysink.evaluation.benchmarks`; None: as it is there."""

    split: Name | None = None
    metric: Metric | None = None
    suffix: str | None = None


class Evaluate(Settings):
    """Which variants answer which questions, and what is compared."""

    benchmarks: Annotated[Entries[BenchmarkChange], Field(min_length=1)]
    batch: PositiveInt
    max_new_tokens: PositiveInt
    baseline: Text
    candidate: Text
    oracle: Text
    compare: tuple[Pair, ...]
    level: Level
    resamples: PositiveInt
    cot: CoTTemplates
    variants: dict[Name, Variant | None]

    @property
    def chosen(self) -> dict[str, Variant]:
        """The variants that were not taken out."""
        return {name: one for name, one in self.variants.items() if one is not None}

    def rows(self) -> "list[Benchmark]":
        """The benchmarks, with what is changed of each."""
        from diysink.evaluation.benchmarks import BENCHMARKS, Benchmark

        return [
            replace(BENCHMARKS.get(name, Benchmark(name)), **change.model_dump(exclude_none=True))
            for name, change in self.benchmarks.items()
        ]

    @model_validator(mode="after")
    def _named(self) -> Self:
        named = [(key, getattr(self, key)) for key in ("baseline", "candidate")]
        compared = [("oracle", self.oracle), *compare_names(self.compare)]
        check_named(named, compared, self.variants)
        return self


def compare_names(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The variants that ``compare`` names, each with its key."""
    return (("compare", name) for pair in pairs for name in pair)


def check_named(
    named: Iterable[tuple[str, str]],
    compared: Iterable[tuple[str, str]],
    variants: Mapping[str, object],
) -> None:
    """Refuse names of variants that are none.

    Args:
        named: keys, and the variants that they name.
        compared: likewise; one that was taken out is passed over, because it is not compared.
        variants: None: taken out.

    Raises:
        ContradictionError: an unknown name.
    """
    chosen = [name for name, one in variants.items() if one is not None]
    unknown = [(key, name) for key, name in named if name not in chosen]
    unknown += [(key, name) for key, name in compared if name not in variants]
    expected = f"one of variants: {', '.join(chosen) or 'none'}"
    if problems := [Problem(key, repr(name), expected) for key, name in dict.fromkeys(unknown)]:
        raise ContradictionError(problems)
