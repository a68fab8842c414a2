"""Settings of what is trained to select; explained in ``conf/base/parameters_reweight.yml``."""

from typing import Literal, Self

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from pipelines.schema import ConnectorName, Entries, Settings, Several
from pipelines.shared import Training


class Selector(Settings):
    """One selector: ``{kind: reweight, at, layers}`` or ``{kind: lsg, layers, scale}``."""

    kind: Literal["reweight", "lsg"]
    at: Literal["connector", "keys"] | None = None
    layers: Several[NonNegativeInt] | None = None
    scale: PositiveFloat | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {"reweight": {"at", "layers"}, "lsg": {"layers", "scale"}}[self.kind]
        lacking = needed - {"layers"} & {name for name in needed if getattr(self, name) is None}
        if self.model_fields_set != needed | {"kind"} or lacking:
            raise ValueError(f"kind, {', '.join(sorted(needed))} alone")
        return self


class Reweight(Training):
    """Which selectors are trained, for which connector, and how."""

    connector: ConnectorName
    hidden: PositiveInt
    output: Literal["softmax", "sigmoid", "free"]
    selectors: Entries[Selector]
    epochs: PositiveInt
