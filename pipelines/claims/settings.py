"""Settings of the claims; each is explained in ``conf/base/parameters_claims.yml``."""

from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from diysink.claims import Claim
from pipelines.schema import Settings, Text, without_nulls


class Claims(Settings):
    """The claims, and the names that they refer to.

    Attributes:
        roles: which variants and groups of questions the entries are about.
        entries: the claims by number; null takes one out.
    """

    roles: dict[str, Text | None]
    entries: Annotated[dict[int, Claim], BeforeValidator(without_nulls)]

    @model_validator(mode="after")
    def _names_are_known(self) -> "Claims":
        self.named(profile="")
        return self

    def named(self, **names: Any) -> dict[int, Claim]:
        """The entries with roles, and the names of other stages, in place of ``$name``.

        Roles are no references of OmegaConf, which Kedro resolves before a preset changes them.
        """
        every = self.roles | names
        return {number: claim.named(every) for number, claim in self.entries.items()}
