"""The dry run: every check in its order, then the table."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from pipelines.dry_run.check import Check, DryRunError, show
from pipelines.dry_run.plan import Plan


def dry_run(
    parameters: Mapping[str, Any], pipelines: Sequence[str], console: Console | None = None
) -> list[Check]:
    """Check all that can be checked without weights, and print a table of it.

    Nothing is written but in a temporary folder, and nothing is looked up on the hub.

    Args:
        parameters: of the run, as they were read.
        pipelines: names of the run's pipelines; none: the default, or ``prepare`` and ``evaluate``
            where all variants are of the LVLM, so that nothing is trained.
        console: for the table.

    Raises:
        DryRunError: something is missing or wrong; it has all checks.
        ValueError: there is no pipeline of that name.
    """
    checks = list(_checks(parameters, pipelines))
    show(checks, console)
    if any(check.stops_a_run for check in checks):
        raise DryRunError(checks)
    return checks


def _checks(parameters: Mapping[str, Any], pipelines: Sequence[str]) -> Iterator[Check]:
    from pipelines.parameters import build
    from pipelines.pipeline_registry import ON_REQUEST, STAGES
    from pipelines.problems import ParameterError

    names = list(pipelines) or _usual(parameters)
    stages = [one for name in names for one in (STAGES if name == "__default__" else [name])]
    if unknown := [name for name in stages if name not in STAGES | ON_REQUEST]:
        raise ValueError(
            f"there is no pipeline {unknown[0]!r}; there are {', '.join(STAGES | ON_REQUEST)}"
        )
    try:
        settings = build(parameters, stages)
    except ParameterError as error:
        for problem in error.problems:
            yield Check(problem.where, "wrong", f"{problem.came}; expected {problem.expected}")
        yield Check("everything else", "not run", "settings must be right first")
        return
    yield Check("settings", "ok", f"of {len(settings)} blocks, for {', '.join(stages)}")
    yield from _of(Plan(parameters, settings, tuple(stages)))


def _usual(parameters: Mapping[str, Any]) -> list[str]:
    from pipelines.parameters import build
    from pipelines.problems import ParameterError

    try:
        variants = build(parameters, [])["evaluate"].variants
    except (ParameterError, KeyError):  # which is told of next
        return ["__default__"]
    return ["__default__"] if variants.trained else ["prepare", "evaluate"]


def _of(plan: Plan) -> Iterator[Check]:
    from pipelines.dry_run.estimates import estimates
    from pipelines.dry_run.places import places
    from pipelines.dry_run.questions import questions
    from pipelines.dry_run.records import records
    from pipelines.dry_run.shapes import shapes
    from pipelines.dry_run.step import step
    from pipelines.dry_run.tokens import tokens

    for look in (places, questions, records, shapes, tokens, estimates, step):
        yield from look(plan)
