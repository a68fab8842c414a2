"""Settings of the search; each is explained in ``conf/base/parameters_tune.yml``."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from pipelines.evaluate.settings import BenchmarkChange
from pipelines.problems import ContradictionError, Problem
from pipelines.schema import Entries, Name, Settings, Text

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from diysink.evaluation.benchmarks import Benchmark

OPTIONS = "selector.options."
VARIED = (
    *("tau", "weights.sink", "weights.nonsink"),
    *("selector.learning_rate", "selector.epochs", f"{OPTIONS}<name>"),
)
"""What a search may vary."""
OWN = ("base", "local")
"""Folders of conf that count in every run, or in every run without ``--env``: never written."""


class Distribution(Settings):
    """Where a value is searched, in Optuna's words.

    Attributes:
        type: ``float``, ``int`` or ``categorical``.
        low: the smallest value of a number.
        high: the largest.
        log: whether a number is drawn evenly in its logarithm.
        step: numbers are ``low`` and whole steps above it; None: any (of ``int``: 1).
        choices: of ``categorical``.
    """

    type: Literal["float", "int", "categorical"]
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[float | int | bool | str | None, ...] = ()

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that stand for all when they are checked: both ends, or all choices."""
        number = int if self.type == "int" else float
        return self.choices or (number(self.low or 0), number(self.high or 0))

    def optuna(self) -> "BaseDistribution":
        """As Optuna has it."""
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        if self.type == "categorical":
            return CategoricalDistribution(self.choices)
        low, high = self.ends
        if self.type == "int":
            return IntDistribution(low, high, log=self.log, step=int(self.step or 1))
        return FloatDistribution(low, high, log=self.log, step=self.step)

    @model_validator(mode="after")
    def _valid(self) -> Self:
        low, high, step = self.low, self.high, self.step
        if self.type == "categorical":
            if not self.choices or {"low", "high", "log", "step"} & self.model_fields_set:
                raise ValueError("choices, at least one, and nothing else for type categorical")
            return self
        if self.choices or low is None or high is None or not low < high:
            raise ValueError(f"low and high, low below high, and no choices for type {self.type}")
        if self.type == "int" and any(n is not None and n % 1 for n in (low, high, step)):
            raise ValueError("whole numbers for type int")
        if self.log and (low <= 0 or step is not None):
            raise ValueError("log with a low above 0 and without a step")
        if step is not None and not 0 < step <= high - low:
            raise ValueError("a step above 0 that is not longer than from low to high")
        return self


class Study(Settings):
    """One search.

    Attributes:
        variant: of ``evaluate.variants``; it is the default that the search starts from.
        trials: how many are completed.
        space: what is varied, by its path in the variant (``tau``, ``weights.sink``) or in the
            selector that the variant selects by (``selector.learning_rate``,
            ``selector.options.hidden``).
    """

    variant: Text
    trials: PositiveInt
    space: Annotated[dict[Text, Distribution], Field(min_length=1)]

    @model_validator(mode="after")
    def _varied(self) -> Self:
        problems = [
            Problem(f"space.{path}", "a name that is not varied", f"one of {', '.join(VARIED)}")
            for path in self.space
            if path not in VARIED and not path.startswith(OPTIONS)
        ]
        if problems:
            raise ContradictionError(problems)
        return self


class Validation(BenchmarkChange):
    """The questions of the search: a row as those of ``evaluate.benchmarks``, with its split."""

    split: Name


def _preset(value: str | None) -> str | None:
    if value in OWN:
        raise ValueError("another name: conf/base and conf/local count in runs without --env")
    return value


def _address(value: str) -> str:
    if "://" not in value:
        raise ValueError("an address of a database, such as sqlite:////home/me/tune.db")
    return value


class Tune(Settings):
    """What is searched, on which questions, and where trials are kept.

    Attributes:
        validation: the split whose answers are the objective.
        confirm: share of its images that no trial sees; 0: none, and nothing is confirmed.
        studies: searches by name.
        sampler: ``tpe`` (Optuna's default) or ``random``.
        startup: trials that ``tpe`` draws at random before it looks at results.
        workers: of the engine; 0: in this process, or with Ray as many as have room.
        storage: address of Optuna's database.
        preset: name of a folder of conf that the result is written to; None: it is an output alone.
        conf: the folder of all presets.
    """

    validation: Validation
    confirm: Annotated[float, Field(ge=0, lt=1)]
    studies: Annotated[Entries[Study], Field(min_length=1)]
    sampler: Literal["tpe", "random"]
    startup: PositiveInt
    workers: NonNegativeInt
    storage: Annotated[str, AfterValidator(_address)]
    preset: Annotated[Name | None, AfterValidator(_preset)]
    conf: Text

    def row(self) -> "Benchmark":
        """The questions of the search."""
        from diysink.evaluation.benchmarks import Benchmark

        return Benchmark("validation", **self.validation.model_dump(exclude_none=True))
