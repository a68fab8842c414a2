"""Settings of what is trained to select; explained in ``conf/base/parameters_reweight.yml``."""

from dataclasses import replace
from functools import cache
from typing import Any, Self

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from diysink.selection import TRAINED_SELECTIONS
from pipelines.problems import ContradictionError, problems_of
from pipelines.schema import ConnectorName, Entries, Settings, Text
from pipelines.shared import Replicated, Training


class Selector(Settings):
    """One selector: a kind of `diysink.selection.TRAINED_SELECTIONS`, and how it is trained.

    Attributes:
        kind: its name there.
        options: its own.
        tau: factor on the model's own tau while it is trained; a variant that it selects for has a
            tau of its own.
        learning_rate: the highest; None: the stage's.
        epochs: None: the stage's.
    """

    kind: Text
    options: dict[str, Any] = Field(default_factory=dict)
    tau: PositiveFloat = 1.0
    learning_rate: PositiveFloat | None = None
    epochs: PositiveInt | None = None

    @property
    def settings(self) -> Any:
        """The options, of the kind's own class."""
        return _options(self.kind).model_validate({"options": self.options}).options  # type: ignore[attr-defined]

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if self.kind not in TRAINED_SELECTIONS:
            raise PydanticCustomError("unknown_name", "", {"known": list(TRAINED_SELECTIONS)})
        try:
            _ = self.settings
        except ValidationError as error:
            found = problems_of(error, "", _options(self.kind))
            problems = [replace(one, where=one.where.removeprefix(".")) for one in found]
            raise ContradictionError(problems) from error
        return self


@cache
def _options(kind: str) -> type[Settings]:
    """Settings that hold the options of a kind, so that they are as strict as all others."""
    return create_model(
        "Options", __base__=Settings, options=(TRAINED_SELECTIONS[kind].Settings, ...)
    )


class Reweight(Training):
    """Which selectors are trained, for which connector, and how."""

    connector: ConnectorName
    selectors: Entries[Selector]
    epochs: PositiveInt
    trainer: Replicated

    def of(self, selector: str) -> "Reweight":
        """The settings that a selector is trained with: its own in place of the stage's."""
        names = {"learning_rate", "epochs"}
        own = self.selectors[selector].model_dump(include=names, exclude_none=True)
        return self.model_copy(update=own)
