"""Settings of stage 1; each is explained in ``conf/base/parameters_align.yml``."""

from typing import Any, Self

from pydantic import model_validator

from diysink.connector import Arrangement, connector_options
from pipelines.problems import ContradictionError, Problem, describe, nearest
from pipelines.schema import ConnectorName, Distinct
from pipelines.shared import StageTraining


class Align(StageTraining):
    """Which connectors are trained, and how."""

    connectors: Distinct[ConnectorName]
    connector_options: dict[ConnectorName, dict[str, Any]]
    arrangement: dict[ConnectorName, Arrangement]
    require_sinks: bool

    @model_validator(mode="after")
    def _options(self) -> Self:
        problems = []
        for kind, given in self.connector_options.items():
            known = connector_options(kind)
            for name, value in given.items():
                where = f"connector_options.{kind}.{name}"
                if name not in known:
                    problems.append(Problem(where, "an unknown key", nearest(name, known)))
                elif type(value) is not type(known[name]):
                    like = f"a value like its default, {known[name]!r}"
                    problems.append(Problem(where, describe(value), like))
        if problems:
            raise ContradictionError(problems)
        return self
