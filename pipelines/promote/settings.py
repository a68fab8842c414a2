"""Settings of the promotion; each is explained in ``conf/base/parameters_promote.yml``."""

from typing import Self

from pydantic import PositiveInt, model_validator

from pipelines.schema import Level, Settings, Share


class Promote(Settings):
    """When a challenger replaces the champion."""

    margin: Share
    level: Level
    resamples: PositiveInt
    rollback: bool
    version: PositiveInt | None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.rollback and self.version is not None:
            raise ValueError(
                "rollback or version, not both: rollback puts the previous champion back, version "
                "names the one to judge"
            )
        return self
