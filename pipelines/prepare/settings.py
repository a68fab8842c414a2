"""Settings of the ``prepare`` stage; each is explained in ``conf/base/parameters_prepare.yml``."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)
from pydantic_core import PydanticCustomError

from diysink.records import GROUPS, MAX_TEXT_BYTES, READERS, RECORDS_PER_SHARD, ImageLimits
from pipelines.schema import Entries, Name, Settings, Share, Text

# Of each group among the miniature's questions, which are made a third each.
GENERATED_SHARE = 0.2


def _format(value: str) -> str:
    if value not in READERS:
        raise PydanticCustomError("unknown_name", "", {"known": list(READERS)})
    return value


class SplitPaths(Settings):
    """Where one split of a user's data lies.

    Attributes:
        images: the image folder.
        records: JSON, parquet or a folder of parquet; None: every image is an item.
        allowed_roots: folders into which symbolic links in the image folder may lead.
        format: schema of the records, one of ``diysink.records.READERS``.
        any_extension: whether an image that is missing may have another extension than named.
    """

    images: Text
    records: Text | None = None
    allowed_roots: Annotated[tuple[Text, ...], BeforeValidator(lambda v: v or ())] = ()
    format: Annotated[str, AfterValidator(_format)] = "llava"
    any_extension: bool = False


class GeneratedSplit(Settings):
    """One split of the miniature; see ``diysink.miniature.llava.write_split``."""

    kind: Literal["train", "align", "questions"]
    images: PositiveInt
    questions: PositiveInt = 3


class Prepare(Settings):
    """What is read, what is accepted, and what the suites check."""

    splits: Entries[SplitPaths] = Field({})
    generate: Entries[GeneratedSplit] = Field({})
    quarantine_limit: Share = 0.01
    duplicate_ids: Literal["quarantine", "number"] = "quarantine"
    max_text_bytes: PositiveInt = MAX_TEXT_BYTES
    image: Annotated[ImageLimits, BeforeValidator(lambda v: {} if v is None else v)] = ImageLimits()
    records_per_shard: PositiveInt = RECORDS_PER_SHARD
    workers: NonNegativeInt = 0
    decode_again: NonNegativeInt = 500
    held_out: tuple[Name, ...] = ("validation", "test")
    # Three groups cannot each have more than a third.
    min_group_share: Entries[Annotated[float, Field(ge=0, le=1 / len(GROUPS))]] = Field({})

    @model_validator(mode="after")
    def _has_data(self) -> Self:
        if not self.splits and not self.generate:
            raise ValueError(
                "splits (your own data) or generate (the miniature), because there is nothing to "
                "prepare; see docs/guides/your-data.md"
            )
        return self

    @property
    def generated(self) -> bool:
        """Whether the miniature's data are made: only where no split is the user's own."""
        return not self.splits

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that the stage makes."""
        return tuple(self.splits or self.generate)

    @property
    def group_shares(self) -> dict[str, float]:
        """For each split that has a rule on its groups, the least share of each group.

        The miniature's questions are made to be balanced, so its splits of questions have the rule;
        a user's own data have it where the user asks for it.
        """
        made = self.generate if self.generated else {}
        own = {name: GENERATED_SHARE for name, split in made.items() if split.kind == "questions"}
        return own | self.min_group_share

    def sources(self, raw: Path) -> dict[str, SplitPaths]:
        """Where each split lies; the miniature's lie in ``raw``."""
        if self.generated:
            images = str(raw / "images")
            return {
                name: SplitPaths(images=images, records=str(raw / f"{name}.json"))
                for name in self.generate
            }
        return dict(self.splits)
