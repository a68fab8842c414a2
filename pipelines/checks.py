"""Holds the parameters against what the stages of a run can use, before anything runs.

A wrong setting of a late stage costs hours if it is noticed there. All that is wrong is told at
once. What a value must be is said by three tables: ``RULES``, the type of the same key's value in
``conf/base``, and ``ENTRIES`` for mappings whose keys are the user's own names. What two settings
must agree on is in :mod:`pipelines.agreement`.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from diysink.artifact import check_name
from pipelines.agreement import disagreements
from pipelines.rules import ENTRIES, KEYS, NEEDED, NULL, OPEN, RULES, Kind, Problem, kind_like

BASE = Path(__file__).resolve().parents[1] / "conf/base"
_MISSPELT = 0.75  # how alike a key and a known one are, from 0 to 1, to be taken for it


class ParameterError(ValueError):
    """Parameters that the stages of a run cannot use.

    Attributes:
        problems: all that is wrong.
    """

    def __init__(self, problems: Collection[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "one parameter is" if count == 1 else f"{count} parameters are"
        lines = "\n".join(f"- {problem}" for problem in self.problems)
        super().__init__(f"Nothing was run, because {head} wrong:\n{lines}")


def check(
    parameters: Mapping[str, Any],
    stages: Collection[str],
    made: Mapping[str, Path] | None = None,
) -> None:
    """Raise one error for all parameters that the stages of a run cannot use.

    Args:
        parameters: all of them, as the catalog has them.
        stages: names of the run's stages; what no other stage uses is not looked at.
        made: folders of an earlier run that this one reads and does not make, by the name of the
            dataset (``finetuned_models``, ``reweightings``). Without them, what an earlier run
            trained is not asked.

    Raises:
        ParameterError: at least one is wrong.
    """
    used, schema = blocks(stages), base()
    if not used:
        return
    problems = list(_misspelt_blocks(parameters, schema))
    for block in sorted(used & parameters.keys() & schema.keys()):
        problems += _walk(parameters[block], schema[block], block)
    told = {problem.where for problem in problems}
    problems += disagreements(parameters, stages, made or {}, told)
    if problems:
        raise ParameterError(problems)


def blocks(stages: Collection[str]) -> set[str]:
    """Top-level parameters that the stages take; the report only shows those of the others."""
    taken = _taken()
    return set().union(*(taken[stage] for stage in set(stages) & taken.keys()))


@cache
def _taken() -> dict[str, set[str]]:
    from pipelines.pipeline_registry import register_pipelines

    taken = {
        stage: {
            name.partition(":")[2].partition(".")[0] for name in pipeline.inputs() if ":" in name
        }
        for stage, pipeline in register_pipelines().items()
    }
    return taken | {"report": {"report"}}


@cache
def base() -> dict[str, Any]:
    """What ``conf/base`` says, as it is written: ``${...}`` is not followed."""
    said: dict[str, Any] = {}
    for path in sorted(BASE.glob("parameters*.yml")):
        said |= yaml.safe_load(path.read_text()) or {}
    return said


def _misspelt_blocks(parameters: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Problem]:
    # Other names are the user's own: values that ${...} refers to, or what a preset asks for.
    for name in parameters.keys() - schema.keys():
        if not str(name).startswith("_") and (close := _close(name, schema)):
            yield Problem(str(name), "a name that no stage reads", f"{close!r} or another name")


def _walk(value: Any, schema: Any, at: str) -> Iterator[Problem]:
    """Problems of ``value``, which in ``conf/base`` is ``schema``."""
    schema = KEYS.get(at, schema)
    if not isinstance(schema, Mapping):
        kind = _rule(at) or kind_like(schema)
        if not kind.accepts(value):
            yield Problem(at, tell(value), kind.expected, kind.remedy)
    elif not isinstance(value, Mapping):
        if value is not None or not _fits(at, NULL):
            keys = ", ".join(map(str, schema)) or "names of your own"
            yield Problem(at, tell(value), f"a mapping with {keys}")
    elif at in ENTRIES:
        for name, inner in value.items():
            yield from _name(name, at)
            yield from _entry(inner, ENTRIES[at], f"{at}.{name}")
    else:
        yield from _keys(value, schema, at)


def _entry(value: Any, entry: Any, at: str) -> Iterator[Problem]:
    if isinstance(entry, Mapping):
        if value is None:  # taken out
            return
        needed = [key for key, said in entry.items() if said == NEEDED]
        if isinstance(value, Mapping) and (missing := [k for k in needed if k not in value]):
            yield Problem(at, tell(value), f"{' and '.join(missing)} as well")
        entry = {key: None if said == NEEDED else said for key, said in entry.items()}
    yield from _walk(value, entry, at)


def _keys(value: Mapping[Any, Any], schema: Mapping[str, Any], at: str) -> Iterator[Problem]:
    for key, inner in value.items():
        if key in schema:
            yield from _walk(inner, schema[key], f"{at}.{key}")
        elif not _fits(f"{at}.{key}", OPEN):
            close = _close(key, schema)
            known = f"{close!r} (it is misspelt)" if close else f"one of {', '.join(schema)}"
            yield Problem(f"{at}.{key}", "an unknown key", known)


def _name(name: Any, at: str) -> Iterator[Problem]:
    try:
        check_name(name, at)
    except ValueError:
        yield Problem(
            at,
            f"a mapping with the name {tell(name)}",
            "letters, digits, - and _, with a letter or digit first, because it becomes a folder",
            "Rename it. In YAML, write a name such as 2024 or on in quotes.",
        )


def _rule(at: str) -> Kind | None:
    return next((kind for patterns, kind in RULES if _fits(at, patterns)), None)


def _fits(at: str, patterns: str) -> bool:
    return any(fnmatchcase(at, pattern) for pattern in patterns.split())


def _close(key: object, known: Collection[Any]) -> str | None:
    found = difflib.get_close_matches(str(key), map(str, known), n=1, cutoff=_MISSPELT)
    return found[0] if found else None


def tell(value: Any) -> str:
    """A value with the name of its type, for those to whom ``on`` and ``True`` look alike."""
    match value:
        case None:
            return "null"
        case bool():
            return f"{str(value).lower()} (true or false)"
        case int() | float():
            return f"{value} (a number)"
        case str():
            return f"{value!r} (text)"
        case _:
            return f"{value!r}" if len(repr(value)) < 200 else f"{repr(value)[:200]}..."
