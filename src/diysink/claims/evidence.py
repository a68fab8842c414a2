"""All that claims are judged from: the tables of one run, and which variant plays which part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from diysink.claims.parts import Row


@dataclass(frozen=True)
class Roles:
    """Names, in the run's results, of those that the claims are about.

    Attributes:
        stock: one MLP, tokens in natural order.
        front: the same model, sinks before the other tokens.
        end: the same model, sinks after them.
        parameter_matched: one MLP with as many parameters as the two.
        dual: two MLPs, both sets seen.
        sinks: the same model, sinks alone.
        nonsinks: the same model, nonsinks alone.
        cot: the same model, hard routes by CoT.
        soft: the same, the routes' probabilities as weights.
        reweight: the same model, weights by ReW.
        random: the same model, routes by lot.
        whole: the group of questions that need the whole picture.
        detail: the group of questions that need a detail.
    """

    stock: str = "single"
    front: str = "single-front"
    end: str = "single-end"
    parameter_matched: str = "parameter-matched"
    dual: str = "dual"
    sinks: str = "dual-sinks"
    nonsinks: str = "dual-nonsinks"
    cot: str = "dual-cot"
    soft: str = "dual-cot-soft"
    reweight: str = "dual-reweight"
    random: str = "dual-random"
    whole: str = "global"
    detail: str = "local"


@dataclass(frozen=True)
class Evidence:
    """Tables of one run.

    Attributes:
        tables: by name, as the analyses make them; what was not run is missing, None or empty.
        encoder: whose sinks the models treat apart: a name in the tables of sinks.
        controls: encoders that are expected to have no sinks.
        roles: which variant plays which part.
        level: of all intervals; 1 - level is the error allowed.
        induced: the encoder's sinks were induced in training.
    """

    tables: Mapping[str, pd.DataFrame | None]
    encoder: str
    controls: tuple[str, ...] = ()
    roles: Roles = field(default_factory=Roles)
    level: float = 0.95
    induced: bool = False
    _records: dict[str, list[Row]] = field(default_factory=dict, init=False, repr=False)

    def rows(self, name: str, **wanted: Any) -> list[Row]:
        """Rows of a table whose columns have the values wanted; none of a table not there."""
        if name not in self._records:
            table = self.tables.get(name)
            self._records[name] = [] if table is None else [*table.to_dict("records")]
        chosen = wanted.items()
        return [r for r in self._records[name] if all(r[column] == v for column, v in chosen)]

    def row(self, name: str, **wanted: Any) -> Row | None:
        """The first of these rows, or None."""
        return next(iter(self.rows(name, **wanted)), None)
