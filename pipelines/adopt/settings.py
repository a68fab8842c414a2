"""Settings of adoption; each is explained in ``conf/base/parameters_adopt.yml``."""

from typing import Annotated, Literal

from pydantic import Field

from diysink.connector import Arrangement
from pipelines.schema import ConnectorName, Settings, Text


class Adopt(Settings):
    """Which checkpoint, and what its one MLP becomes."""

    path: Text | None
    revision: Text | None
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    connectors: Annotated[dict[ConnectorName, Arrangement], Field(min_length=1)]
    require_sinks: bool
