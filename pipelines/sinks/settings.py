"""Settings of the ``sinks`` stage; each is explained in ``conf/base/parameters_sinks.yml``."""

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from diysink.sinks import CalibrationSettings
from pipelines.schema import Dtype, Entries, Name, Seed, Settings, Text


class Encoder(Settings):
    """One encoder to measure: a folder or hub id, its revision, and the layer that is read."""

    path: Text
    revision: Text | None = None
    layer: int = -2


class Resampling(Settings):
    """Of the bootstrap over images."""

    replicates: PositiveInt
    seed: Seed


class Sinks(Settings):
    """What is measured, how tau is found, and which verdict is expected."""

    encoders: Entries[Encoder]
    split: Name
    every: PositiveInt
    dtype: Dtype
    batch_size: PositiveInt
    shard_size: PositiveInt
    workers: NonNegativeInt
    threads: PositiveInt
    bootstrap: Resampling
    calibration: CalibrationSettings
    examples: NonNegativeInt
    expect: Entries[Literal["found", "none"]]
    unexpected: Literal["warn", "stop"]

    @property
    def controls(self) -> tuple[str, ...]:
        """The encoders that should have no sinks."""
        return tuple(name for name, verdict in self.expect.items() if verdict == "none")
