"""What one training or test item is, and how a user's data become such items, safely.

A source (`open_source`: LLaVA's JSON, parquet of that shape, one of the other schemas in
`READERS`, an image folder) is taken in (`take_in`) item by item: texts are checked, images are
decoded once within limits, what fits is written to parquet shards, what does not is listed with a
reason. `Records` reads the shards.
"""

from diysink.records.cache import read_image
from diysink.records.check import MAX_TEXT_BYTES, Draft, check_item
from diysink.records.folder import ImageFolder, SourceError
from diysink.records.formats import READERS
from diysink.records.image import FORMATS, ImageFile, ImageLimits
from diysink.records.intake import Intake, take_in
from diysink.records.reader import Records, reading
from diysink.records.record import (
    GROUPS,
    PLACEHOLDER,
    Record,
    Speaker,
    Turn,
    answer_of,
    question_of,
)
from diysink.records.rejection import BadItemError, Reason, Rejection
from diysink.records.shards import RECORDS_PER_SHARD, ROW_GROUP, SCHEMA, write_shards
from diysink.records.source import Source, open_source

__all__ = [
    "FORMATS",
    "GROUPS",
    "MAX_TEXT_BYTES",
    "PLACEHOLDER",
    "READERS",
    "RECORDS_PER_SHARD",
    "ROW_GROUP",
    "SCHEMA",
    "BadItemError",
    "Draft",
    "ImageFile",
    "ImageFolder",
    "ImageLimits",
    "Intake",
    "Reason",
    "Record",
    "Records",
    "Rejection",
    "Source",
    "SourceError",
    "Speaker",
    "Turn",
    "answer_of",
    "check_item",
    "open_source",
    "question_of",
    "read_image",
    "reading",
    "take_in",
    "write_shards",
]
