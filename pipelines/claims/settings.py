"""Settings of the claims; each is explained in ``conf/base/parameters_claims.yml``."""

from typing import Annotated

from pydantic import BeforeValidator, PositiveInt

from diysink.claims import Claim
from pipelines.schema import Level, Settings, Text, without_nulls


class Claims(Settings):
    """The claims, and how intervals of planned comparisons are made.

    Attributes:
        level: of the intervals.
        resamples: of the bootstrap over images.
        roles: names that the entries refer to.
        entries: the claims by number; null takes one out.
    """

    level: Level
    resamples: PositiveInt
    roles: dict[str, Text | None]
    entries: Annotated[dict[int, Claim], BeforeValidator(without_nulls)]
