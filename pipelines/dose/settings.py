"""Settings of the dose-responses; each is explained in ``conf/base/parameters_dose.yml``."""

from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from pipelines.align.settings import Align, TrainedConnector
from pipelines.schema import Entries, Name, Pair, Settings, Share, Text


class Level(Settings):
    """One level of a dose: what is changed of the run's own settings.

    Attributes:
        value: of the knob, on the axis of the figure.
        name: under the axis; None: the value.
        max_steps: of stage 2; 0: the language model stays as it is. None: ``finetune``'s.
        options: of every connector, beside its own (``activation: linear``, ``hidden_dim: 16``).
        profile: of ``sinks.encoders``: the encoder, and its sinks; None: ``model``'s.
        interference: share of nonsinks that are another image's while questions are answered.
    """

    value: float
    name: Text | None = None
    max_steps: NonNegativeInt | None = None
    options: dict[str, int | str | bool] = Field(default_factory=dict)
    profile: Name | None = None
    interference: Share = 0.0


class Dose(Settings):
    """A knob at several levels, and the comparison that should answer to it.

    Attributes:
        knob: what is turned, in words.
        planted: whether the gain should rise or fall with the value.
        compare: variant and baseline, of ``evaluate.variants``.
        group: of the questions that are told first.
        connectors: of ``align.connectors``, changed for this dose.
        levels: at least two.
    """

    knob: Text
    planted: Literal["rises", "falls"]
    compare: Pair
    group: Literal["all", "global", "local", "mixed"] = "all"
    connectors: Entries[TrainedConnector] = Field(default_factory=dict)
    levels: Annotated[tuple[Level, ...], Field(min_length=2)]

    def connectors_at(self, level: Level, align: Align, names: Collection[str]) -> Align:
        """The settings of stage 1 with the named connectors alone, as a level has them.

        Raises:
            ValueError: a connector does not take such options, or there is none of a name.
        """
        own = {**align.connectors, **self.connectors}
        connectors = {
            name: one.plain() | {"options": {**one.options, **level.options}}
            for name, one in own.items()
            if name in names
        }
        return Align.model_validate(align.plain() | {"connectors": connectors})

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        values = [level.value for level in self.levels]
        if values != sorted(set(values)):
            raise ValueError("levels in the order of their values, each once")
        return self


class Doses(Settings):
    """``dose`` in the parameters.

    Attributes:
        doses: by name; none: the stage does nothing.
    """

    doses: Entries[Dose]
