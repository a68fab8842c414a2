"""What is wrong with parameters, as one error that lists all of it."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

_MISSPELT = 0.75  # how alike a key and a known one are, from 0 to 1, to be taken for it
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
# `--params model.encoder=2024` and YAML's `images: on` are no text.
_FOLDER = "letters, digits, - and _, with a letter or digit first, because it becomes a folder"
_RENAME = "Rename it. In YAML, write a name such as 2024 or on in quotes."
_QUOTE = "In YAML, write it in quotes; after --params, write a folder as ./2024."


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: the parameter, as ``--params`` would name it.
        came: what it is.
        expected: what it must be.
        remedy: what to do, where ``expected`` does not say it.
    """

    where: str
    came: str
    expected: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{self.where} is {self.came}; expected {self.expected}.{remedy}"


class ContradictionError(ValueError):
    """Settings of one model that contradict each other; the problems name its fields."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(map(str, problems)))


class ParameterError(ValueError):
    """Parameters that the project cannot use.

    Attributes:
        problems: all that is wrong.
    """

    def __init__(self, problems: Collection[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "one parameter is" if count == 1 else f"{count} parameters are"
        lines = "\n".join(f"- {problem}" for problem in self.problems)
        super().__init__(f"Nothing was run, because {head} wrong:\n{lines}")


def problems_of(error: ValidationError, block: str, kind: Any) -> Iterator[Problem]:
    """All that pydantic found in one block of the parameters, whose type is ``kind``."""
    for found in error.errors(include_url=False):
        path = [block, *(str(part) for part in found["loc"] if part != "[key]")]
        where, came = ".".join(path), describe(found["input"])
        cause = found.get("ctx", {}).get("error")
        if isinstance(cause, ContradictionError):
            for problem in cause.problems:
                yield replace(problem, where=f"{where}.{problem.where}".rstrip("."))
        elif found["type"] in _UNKNOWN:
            known = known_keys(kind, found["loc"][:-1])
            yield Problem(where, "an unknown key", nearest(path[-1], known))
        elif found["type"] == "missing":
            yield Problem(where, "missing", "a value")
        elif found["type"] == "unknown_name":
            key = "[key]" in found["loc"]
            expected = nearest(str(found["input"]), found["ctx"]["known"])
            yield Problem(where, "an unknown key" if key else came, expected)
        elif "[key]" in found["loc"]:
            yield Problem(".".join(path[:-1]), f"a mapping with the name {came}", _FOLDER, _RENAME)
        else:
            remedy = _QUOTE if found["type"] == "string_type" else ""
            yield Problem(where, came, _expected(found), remedy)


def _expected(found: Mapping[str, Any]) -> str:
    message = str(found["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    return message.removesuffix(".")


def known_keys(kind: Any, path: Sequence[int | str]) -> list[str]:
    """Names of the fields of the settings at ``path`` inside the type ``kind``."""
    for part in path:
        inner = _models(kind)
        kind = inner[part] if part in inner else _entry(kind)
    return [str(name) for name in _models(kind)]


def _models(kind: Any) -> dict[str | int, Any]:
    """The fields of the settings or dataclass that a type is, or may be, and their types."""
    for each in _options(kind):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return {name: field.annotation for name, field in each.model_fields.items()}
        if is_dataclass(each):
            hints = get_type_hints(each)
            return {field.name: hints[field.name] for field in fields(each)}
    return {}


def _entry(kind: Any) -> Any:
    """What a mapping or list of the type holds."""
    return next((get_args(each)[-1] for each in _options(kind) if get_args(each)), Any)


def _options(kind: Any) -> list[Any]:
    if get_origin(kind) is Annotated:
        return _options(get_args(kind)[0])
    if type(None) in get_args(kind):
        return [option for each in get_args(kind) for option in _options(each)]
    return [kind]


def nearest(name: str, known: Collection[str]) -> str:
    """The known name that a misspelt one is most like, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=_MISSPELT)
    return f"{close[0]!r} (it is misspelt)" if close else f"one of {', '.join(known) or 'none'}"


def misspelt(name: str, known: Collection[str]) -> bool:
    """Whether a name is much like a known one."""
    return bool(difflib.get_close_matches(name, known, n=1, cutoff=_MISSPELT))


def describe(value: Any) -> str:
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
