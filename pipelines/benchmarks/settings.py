"""Settings of the benchmarks; each is explained in ``conf/base/parameters_benchmarks.yml``."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from pipelines.evaluate.settings import BenchmarkChange
from pipelines.problems import ContradictionError, Problem
from pipelines.schema import Entries, Name, Settings, Share, Text, without_nulls

if TYPE_CHECKING:
    from diysink.analysis.taxonomy import TaxonomySettings
    from diysink.evaluation.benchmarks import Benchmark


class Published(BenchmarkChange):
    """What is changed of a published benchmark.

    Attributes:
        folder: of its files; None: the folder of its name below ``benchmarks.folder``.
        like: row of the table of benchmarks; None: the one of its name.
    """

    folder: Text | None = None
    like: Text | None = None


class Column(Settings):
    """A column of the table: a number, or the mean of several.

    Attributes:
        numbers: ``benchmark/number``; a variant has the column if it has all of them.
        remark: what a reader must know of it.
    """

    numbers: tuple[Text, ...] = Field(min_length=1)
    remark: str = ""


class Taxonomy(Settings):
    """From the model's two scores to global, local or mixed: `diysink.analysis.taxonomy`."""

    local: Share
    whole: Share
    complexity: float

    def rule(self) -> "TaxonomySettings":
        """As the analysis takes it."""
        from diysink.analysis.taxonomy import TaxonomySettings

        return TaxonomySettings(**self.model_dump())


_Figures = Annotated[dict[Text, float], BeforeValidator(without_nulls)]


class Benchmarks(Settings):
    """Which benchmarks are answered, how the work is kept, and the table that comes out."""

    folder: Text
    answers: Text
    download: bool
    chosen: Entries[Published]
    every: PositiveInt
    workers: NonNegativeInt
    limit: PositiveInt | None
    columns: Annotated[dict[Text, Column], BeforeValidator(without_nulls)]
    taxonomy: Taxonomy | None
    paper: Annotated[dict[Name, _Figures], BeforeValidator(without_nulls)]

    def rows(self) -> "list[tuple[Benchmark, Path]]":
        """The benchmarks, with what is changed of each, and the folder of its files."""
        from diysink.evaluation.benchmarks import BENCHMARKS

        found = []
        for name, change in self.chosen.items():
            given = change.model_dump(exclude_none=True, exclude={"folder", "like"})
            row = replace(BENCHMARKS[change.like or name], name=name, **given)
            found.append((row, Path(change.folder or Path(self.folder) / name)))
        return found

    @model_validator(mode="after")
    def _known(self) -> Self:
        from diysink.evaluation.benchmarks import BENCHMARKS

        published = [name for name, row in BENCHMARKS.items() if row.published]
        problems = [
            Problem(f"chosen.{name}", repr(change.like or name), f"one of {', '.join(published)}")
            for name, change in self.chosen.items()
            if (change.like or name) not in published
        ]
        if problems:
            raise ContradictionError(problems)
        return self
