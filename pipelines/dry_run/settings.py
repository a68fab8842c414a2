"""Settings of dry runs; each is explained in ``conf/base/parameters_dry_run.yml``."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, PositiveInt

from pipelines.schema import Settings, Text, without_nulls


class Estimate(Settings):
    """What hours and memory are estimated for."""

    card: Text
    memory_gb: PositiveFloat
    tflops: PositiveFloat
    mfu: Annotated[float, Field(gt=0, le=1)]
    text_tokens: PositiveInt


def _with_type(values: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(values.get("model_type"), str):
        raise ValueError("a mapping with a model_type of transformers")
    return values


Part = Literal["encoder", "language", "lvlm"]
Architecture = Annotated[
    dict[Part, Annotated[dict[str, Any], AfterValidator(_with_type)]],
    BeforeValidator(without_nulls),
]
"""Values of the configurations of transformers of a run's parts; null takes one out."""
