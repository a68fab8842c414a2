"""Settings of what is trained to select; explained in ``conf/base/parameters_reweight.yml``."""

from typing import Any, Self

from pydantic import Field, PositiveInt, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from diysink.selection import TRAINED_SELECTIONS
from pipelines.problems import ContradictionError, problems_of
from pipelines.schema import ConnectorName, Entries, Settings, Text
from pipelines.shared import Replicated, Training


class Selector(Settings):
    """One selector: a kind of `diysink.selection.TRAINED_SELECTIONS`, and its own options."""

    kind: Text
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def settings(self) -> Any:
        """The options, of the kind's own class."""
        kind = TRAINED_SELECTIONS[self.kind].Settings
        return TypeAdapter(kind).validate_python(self.options)

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if self.kind not in TRAINED_SELECTIONS:
            raise PydanticCustomError("unknown_name", "", {"known": list(TRAINED_SELECTIONS)})
        try:
            _ = self.settings
        except ValidationError as error:
            kind = TRAINED_SELECTIONS[self.kind].Settings
            raise ContradictionError(list(problems_of(error, "options", kind))) from error
        return self


class Reweight(Training):
    """Which selectors are trained, for which connector, and how."""

    connector: ConnectorName
    selectors: Entries[Selector]
    epochs: PositiveInt
    trainer: Replicated
