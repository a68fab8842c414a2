"""The same shard function on this process or on local worker processes."""

from diysink.engine.device import resolve_device
from diysink.engine.processes import WorkerDiedError, run_shards
from diysink.engine.shard import (
    DTYPES,
    ShardSpec,
    Task,
    encode_shard,
    first_image,
    loaded,
    split,
    threads,
)

__all__ = [
    "DTYPES",
    "ShardSpec",
    "Task",
    "WorkerDiedError",
    "encode_shard",
    "first_image",
    "loaded",
    "resolve_device",
    "run_shards",
    "split",
    "threads",
]
