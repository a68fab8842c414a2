"""Settings of ``evaluate``; explained in ``conf/base/parameters_{evaluate,variants,lvlm}.yml``."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from diysink.connector import Arrangement
from diysink.selection import CoTTemplates
from diysink.sinks import CalibrationSettings
from pipelines.problems import ContradictionError, Problem
from pipelines.schema import Dtype, Entries, Level, Metric, Name, Pair, Settings, Share, Text
from pipelines.sinks.settings import Resampling

if TYPE_CHECKING:
    from diysink.evaluation.benchmarks import Benchmark


class Weights(Settings):
    """Factors on the projected sinks and nonsinks, beside those that a selection chooses."""

    sink: NonNegativeFloat = 1.0
    nonsink: NonNegativeFloat = 1.0


class Variant(Settings):
    """What answers: a fine-tuned model under a selection, or the LVLM with a change.

    Attributes:
        connector: of a fine-tuned model; None: the LVLM.
        arrangement: of its visual tokens; None: as trained.
        selection: which of them the language model sees.
        tau: factor on the model's own tau.
        weights: factors on the weights that the selection gives.
        change: of the LVLM: ``none`` or a key of `diysink.interventions.named.CHANGES`.
        options: of the change.
        control: ``random-matched``: as many random nonsinks in place of the sinks.
    """

    connector: Text | None = None
    arrangement: Arrangement | None = None
    selection: Text = "both"
    tau: PositiveFloat = 1.0
    weights: Weights = Weights()
    change: Text | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    control: Literal["none", "random-matched"] = "none"

    @property
    def random_matched(self) -> bool:
        """Whether random nonsinks take the place of the sinks."""
        return self.control == "random-matched"

    @property
    def is_weighted(self) -> bool:
        """Whether the selection's weights are changed."""
        return self.weights != Weights()

    @model_serializer(mode="wrap")
    def _short(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a tau and weights that change nothing.

        Answers to benchmarks are kept under a digest of this: a variant that says nothing of them
        is the same as before there were any.
        """
        same: dict[str, Any] = {"tau": 1.0, "weights": Weights().plain()}
        return {
            key: value
            for key, value in serialize(self).items()
            if key not in same or same[key] != value
        }

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if (self.connector is None) == (self.change is None):
            raise ValueError("a connector (a fine-tuned model) or a change (of the LVLM), not both")
        if self.change is None:
            if self.options:
                raise ValueError("options of a change alone")
            return self
        from diysink.interventions.named import change_of

        if {"arrangement", "selection", "tau", "weights"} & self.model_fields_set:
            raise ValueError("a change without arrangement, selection, tau and weights")
        change_of(self.change, self.options, seed=0, random_matched=self.random_matched)
        return self


class VariantSet(Settings):
    """Variants that are evaluated together, and what is compared.

    Attributes:
        baseline: every variant is compared with it.
        candidate: what the evaluation is about; it is what is registered.
        oracle: takes the right routes; None: there is none.
        compare: more pairs; one whose variant was taken out is passed over.
        variants: by name.
    """

    baseline: Text
    candidate: Text
    oracle: Text | None = None
    compare: tuple[Pair, ...] = ()
    variants: dict[Name, Variant | None]

    @property
    def chosen(self) -> dict[str, Variant]:
        """The variants that were not taken out."""
        return {name: one for name, one in self.variants.items() if one is not None}

    @property
    def trained(self) -> dict[str, Variant]:
        """Those of fine-tuned models."""
        return {name: one for name, one in self.chosen.items() if one.connector is not None}

    @property
    def changed(self) -> dict[str, Variant]:
        """Those of the LVLM."""
        return {name: one for name, one in self.chosen.items() if one.change is not None}

    @model_validator(mode="after")
    def _known(self) -> Self:
        chosen = list(self.chosen)
        unknown = [
            (key, name)
            for key, name in (("baseline", self.baseline), ("candidate", self.candidate))
            if name not in chosen
        ]
        named = [("compare", name) for pair in self.compare for name in pair]
        named += [] if self.oracle is None else [("oracle", self.oracle)]
        unknown += [(key, name) for key, name in named if name not in self.variants]
        expected = f"one of variants: {', '.join(chosen) or 'none'}"
        if problems := [Problem(key, repr(name), expected) for key, name in dict.fromkeys(unknown)]:
            raise ContradictionError(problems)
        return self


class BenchmarkChange(Settings):
    """What is changed of a row of `diysink.evaluation.benchmarks`; None: as it is there."""

    split: Name | None = None
    metric: Metric | None = None
    suffix: str | None = None


class Simple(Settings):
    """Which images are simple in truth.

    Attributes:
        table: of labels: a CSV or parquet file, or ``miniature``: what the generator knows.
        attribute: the column ``attribute`` of the labels that tell it.
        labels: of simple images; those with another label are complex.
    """

    table: Text
    attribute: Text
    labels: tuple[Text, ...]


class Evaluate(Settings):
    """Which variants answer which questions; ``variants`` may name one of ``variant_sets``."""

    variants: VariantSet
    benchmarks: Annotated[Entries[BenchmarkChange], Field(min_length=1)]
    batch: PositiveInt
    workers: NonNegativeInt
    max_new_tokens: PositiveInt
    level: Level
    margin: Share
    resamples: PositiveInt
    cot: CoTTemplates
    simple: Simple | None

    def rows(self) -> "list[Benchmark]":
        """The benchmarks, with what is changed of each."""
        from diysink.evaluation.benchmarks import BENCHMARKS, Benchmark

        return [
            replace(BENCHMARKS.get(name, Benchmark(name)), **change.model_dump(exclude_none=True))
            for name, change in self.benchmarks.items()
        ]


class Lvlm(Settings):
    """A vision-language model as it is; how its sinks are calibrated, where tau is None."""

    path: Text | None
    revision: Text | None
    dtype: Dtype
    tau: PositiveFloat | None
    images: PositiveInt
    bootstrap: Resampling
    calibration: CalibrationSettings


def named_set(parameters: dict[str, Any]) -> str | None:
    """Put the set that ``evaluate.variants`` names in its place.

    Args:
        parameters: all of them; changed in place.

    Returns:
        The set's name; None where the parameters hold a set, or none that is known.
    """
    evaluate, sets = parameters.get("evaluate"), parameters.get("variant_sets")
    if not isinstance(evaluate, dict) or not isinstance(sets, dict):
        return None
    name = evaluate.get("variants")
    if not isinstance(name, str) or name not in sets:
        return None
    parameters["evaluate"] = evaluate | {"variants": sets[name]}
    return name
