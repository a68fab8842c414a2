"""Settings of the census; each is explained in ``conf/base/parameters_inspect.yml``."""

from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from pipelines.schema import Seed, Settings, Text


class Inspect(Settings):
    """Which model, on which images; the rest are arguments of `diysink.inspect`."""

    model: Text | None
    revision: Text | None
    images: Text | None
    layers: tuple[int, ...] | None
    limit: PositiveInt | None
    sizes: tuple[PositiveInt, ...] | None
    dtype: Literal["float32", "bfloat16", "float16"]
    batch_size: PositiveInt
    workers: NonNegativeInt
    threads: PositiveInt | None
    examples: NonNegativeInt
    replicates: PositiveInt
    seed: Seed
    causes: bool
    language: bool
    question: Text
    answers: bool
    tau: PositiveFloat | None
