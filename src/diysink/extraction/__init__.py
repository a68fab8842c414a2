"""Records to statistics of an encoder's tokens, shard by shard, on any engine."""

from diysink.extraction.shard import ShardSpec, Task, encode_shard, first_image, loaded, split
from diysink.extraction.shards import run_shards

__all__ = [
    "ShardSpec",
    "Task",
    "encode_shard",
    "first_image",
    "loaded",
    "run_shards",
    "split",
]
