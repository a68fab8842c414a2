"""What settings are made of: the base class, and the types of single values.

Settings are frozen pydantic models. Nothing is converted: ``"3"`` and ``true`` are no numbers. An
unknown key is an error. Tuples are written as lists in YAML, and dataclasses of the library as
mappings.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    Strict,
)
from pydantic_core import CoreSchema, PydanticCustomError

from diysink.artifact import check_name
from diysink.connector import CONNECTORS

T = TypeVar("T")


def _from_yaml(schema: Any, handler: GetCoreSchemaHandler) -> None:
    """Let tuples be lists, and dataclasses mappings, in a strict schema."""
    match schema:
        case {"type": "definition-ref"}:
            _from_yaml(handler.resolve_ref_schema(schema), handler)
        case dict():
            if schema.get("type") in ("tuple", "dataclass"):
                schema["strict"] = False
            for value in schema.values():
                _from_yaml(value, handler)
        case list():
            for value in schema:
                _from_yaml(value, handler)


class Settings(BaseModel):
    """Base of all settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A strict model takes no list for a tuple and no mapping for a dataclass; these do."""
        schema = handler(source)
        _from_yaml(handler.resolve_ref_schema(schema), handler)
        return schema

    def plain(self) -> dict[str, Any]:
        """The settings as JSON values: for digests, manifests and the report."""
        return self.model_dump(mode="json")


def _name(value: str) -> str:
    return check_name(value)


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) != len(values):
        raise ValueError("different ones, each once")
    return values


def _with_one(values: tuple[float, ...]) -> tuple[float, ...]:
    if 1 not in values:
        raise ValueError("a list with 1 among its numbers")
    return values


def without_nulls(entries: Any) -> Any:
    """Entries that are not null; none of null."""
    if entries is None:
        return {}
    if not isinstance(entries, dict):
        return entries
    return {name: entry for name, entry in entries.items() if entry is not None}


def _devices(value: Any) -> Any:
    match value:
        case bool():
            pass
        case int() if value >= 1:
            return value
        case list() if value and all(type(each) is int for each in value):
            return value
    raise ValueError("a whole number, 1 or more, or a list of their numbers")


def _processes(value: Any) -> Any:
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError("auto, or a whole number, 1 or more")


def _connector(value: str) -> str:
    if value not in CONNECTORS:
        raise PydanticCustomError("unknown_name", "", {"known": list(CONNECTORS)})
    return value


Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, AfterValidator(_name)]
"""Becomes the name of a folder."""
Entries = Annotated[dict[Name, T], BeforeValidator(without_nulls)]
"""Entries by names of the user's own; null takes one out."""
ConnectorName = Annotated[str, AfterValidator(_connector)]
Share = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[float, Field(gt=0, lt=1)]
Distinct = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(_distinct)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seeds = Annotated[Distinct[Seed], Strict(False)]
Multiples = Annotated[
    tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1), AfterValidator(_with_one)
]
NumProcesses = Annotated[Any, AfterValidator(_processes)]
Pair = tuple[Text, Text]
"""A variant, and what it is compared with."""
Dtype = Literal["float32", "bfloat16", "float16"]
Metric = Literal["exact", "contains"]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda|mps|xpu|hpu|npu)(:\d+)?$")]
Devices = Annotated[Any, AfterValidator(_devices)]
"""Devices of Lightning's Trainer."""
