"""All settings, built at one place from the parameters before a run opens or writes anything.

Kedro can build settings too, from the type hints of nodes. That is switched off
(:class:`pipelines.context.Context`): it reports a block at a time, without the full name of a
parameter, and it cannot hold the settings of two stages against each other.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from diysink.engine import EngineName
from pipelines.adopt.settings import Adopt
from pipelines.align.settings import Align
from pipelines.analyze.settings import Declared
from pipelines.benchmarks.settings import Benchmarks
from pipelines.claims.settings import Claims
from pipelines.contradictions import Run, contradictions
from pipelines.dose.settings import Doses
from pipelines.dry_run.settings import Architecture, Estimate
from pipelines.evaluate.settings import Evaluate, Lvlm, VariantSet, named_set
from pipelines.finetune.settings import Finetune
from pipelines.inspect.settings import Inspect
from pipelines.miniature.settings import Miniature
from pipelines.prepare.settings import Prepare
from pipelines.problems import ParameterError, Problem, misspelt, nearest, problems_of
from pipelines.promote.settings import Promote
from pipelines.register.settings import Register
from pipelines.report.settings import Report
from pipelines.reweight.settings import Reweight
from pipelines.schema import Device, Name, NumProcesses, Seed, Seeds, Settings, Text
from pipelines.shared import Model, Ray
from pipelines.sinks.settings import Sinks
from pipelines.tune.settings import Tune

T = TypeVar("T", bound=Settings)

BLOCKS: dict[str, Any] = {
    "seed": Seed,
    "seeds": Seeds,
    "device": Device,
    "num_processes": NumProcesses,
    "engine": EngineName,
    "ray": Ray,
    "workspace": Text,
    "env": Text,
    "model": Model,
    "lvlm": Lvlm,
    "prepare": Prepare,
    "sinks": Sinks,
    "align": Align,
    "finetune": Finetune,
    "reweight": Reweight,
    "adopt": Adopt,
    "inspect": Inspect,
    "variant_sets": dict[Name, VariantSet],
    "evaluate": Evaluate,
    "benchmarks": Benchmarks,
    "dose": Doses,
    "analyze": Declared,
    "claims": Claims,
    "tune": Tune,
    "register": Register,
    "promote": Promote,
    "report": Report,
    "dry_run": bool,
    "estimate": Estimate,
    "architecture": Architecture,
    "miniature": Miniature,
}
"""Every top-level parameter and its type."""

_STRICT = {"strict": True, "allow_inf_nan": False}


def build(
    parameters: Mapping[str, Any],
    stages: Collection[str],
    made: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """The settings of every stage, by the name of the parameter.

    Args:
        parameters: all of them, as the catalog has them. All known ones are looked at.
        stages: names of the run's stages; what these need of each other is checked.
        made: folders of an earlier run that this one reads and does not make, by the name of the
            dataset (``finetuned_models``, ``reweightings``). Without them, what an earlier run
            trained is not asked.

    Raises:
        ParameterError: at least one parameter is wrong.
    """
    problems = [
        Problem(name, "a name that no stage reads", nearest(name, BLOCKS))
        for name in parameters
        # Other names are the user's own: values that ${...} refers to, or what a preset asks for.
        if name not in BLOCKS and not name.startswith("_") and misspelt(name, BLOCKS)
    ]
    settings: dict[str, Any] = {}
    parameters = dict(parameters)
    named = named_set(parameters)
    for name, kind in BLOCKS.items():
        if name in parameters:
            try:
                settings[name] = _adapter(name).validate_python(parameters[name])
            except ValidationError as error:
                problems += problems_of(error, name, kind)
    problems += contradictions(Run(settings, stages, made or {}))
    if problems:
        raise ParameterError(_of_set(problems, named))
    return settings


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    kind = BLOCKS[name]
    model = isinstance(kind, type) and issubclass(kind, Settings)
    return TypeAdapter(kind, config=None if model else _STRICT)  # type: ignore[arg-type]


def _of_set(problems: Iterable[Problem], name: str | None) -> list[Problem]:
    """Problems of the set of variants that is named, each once, where the set is written."""
    if name is None:
        return list(problems)
    inside, home = "evaluate.variants.", f"variant_sets.{name}."
    moved = (
        replace(problem, where=home + problem.where.removeprefix(inside))
        if problem.where.startswith(inside)
        else problem
        for problem in problems
    )
    return list(dict.fromkeys(moved))
