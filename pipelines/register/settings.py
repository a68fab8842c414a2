"""Settings of the registration."""

from typing import Annotated

from pydantic import Field

from pipelines.schema import Seed, Settings

ModelName = Annotated[str, Field(pattern=r"^[^\W_]([\w .-]{0,198}[\w.-])?$")]
"""As :func:`diysink.registry.check_model_name` has it."""


class Register(Settings):
    """The name of the registered model, and which training seed is packaged."""

    name: ModelName
    seed: Seed
