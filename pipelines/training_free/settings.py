"""Settings of the training-free table; see ``conf/base/parameters_training_free.yml``."""

from typing import Any, Self

from pydantic import PositiveFloat, PositiveInt, model_validator

from diysink.sinks import CalibrationSettings
from pipelines.evaluate.settings import check_named, compare_names
from pipelines.schema import Dtype, Level, Metric, Name, Pair, Settings, Text
from pipelines.sinks.settings import Resampling


class Lvlm(Settings):
    """Which model, ``lvlm`` in the parameters; tau None: from the data."""

    path: Text | None
    revision: Text | None
    dtype: Dtype
    tau: PositiveFloat | None


class TrainingFree(Settings):
    """What is done to the model's visual tokens, and what is compared."""

    split: Name
    images: PositiveInt
    bootstrap: Resampling
    calibration: CalibrationSettings
    batch: PositiveInt
    max_new_tokens: PositiveInt
    metric: Metric
    baseline: Text
    candidate: Text
    compare: tuple[Pair, ...]
    level: Level
    resamples: PositiveInt
    variants: dict[Name, dict[str, Any] | None]

    @model_validator(mode="after")
    def _named(self) -> Self:
        named = [(key, getattr(self, key)) for key in ("baseline", "candidate")]
        check_named(named, compare_names(self.compare), self.variants)
        return self
