"""Settings of stage 1; each is explained in ``conf/base/parameters_align.yml``."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from diysink.connector import CONNECTORS, Arrangement, connector_options
from diysink.training import Views
from pipelines.problems import ContradictionError, Problem, describe, nearest
from pipelines.schema import ConnectorName, Entries, Settings
from pipelines.shared import Replicated, StageTraining


class TrainedConnector(Settings):
    """One training.

    Attributes:
        connector: its kind; None: that of its name.
        arrangement: of the visual tokens; None: the connector's own.
        views: what its two parts see in stage 1; a connector of one part sees all tokens.
        options: of the connector.
    """

    connector: ConnectorName | None = None
    arrangement: Arrangement | None = None
    views: Views = "own"
    options: dict[str, Any] = Field(default_factory=dict)


class Align(StageTraining):
    """Which connectors are trained, by names of the user's own, and how."""

    connectors: Annotated[Entries[TrainedConnector], Field(min_length=1)]
    require_sinks: bool
    trainer: Replicated

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each connector."""
        return {name: self.kind(name) for name in self.connectors}

    @property
    def slowest_first(self) -> list[str]:
        """The names; those of two passes a step first, that no core waits for them at the end."""

        def passes(name: str) -> int:
            two_parts = CONNECTORS[self.kind(name)].two_parts
            return 2 if two_parts and self.connectors[name].views == "own" else 1

        return sorted(self.connectors, key=passes, reverse=True)

    def kind(self, name: str) -> str:
        """The kind of the connector of this name."""
        return self.connectors[name].connector or name

    @model_validator(mode="after")
    def _options(self) -> Self:
        problems = []
        for name, one in self.connectors.items():
            kind = self.kind(name)
            if kind not in CONNECTORS:
                problems.append(
                    Problem(f"connectors.{name}", "no kind of connector", nearest(name, CONNECTORS))
                )
                continue
            known = connector_options(kind)
            for option, value in one.options.items():
                where = f"connectors.{name}.options.{option}"
                default = known.get(option)
                if option not in known:
                    problems.append(Problem(where, "an unknown key", nearest(option, known)))
                elif default is not None and type(value) is not type(default):
                    like = f"a value like its default, {default!r}"
                    problems.append(Problem(where, describe(value), like))
        if problems:
            raise ContradictionError(problems)
        return self
