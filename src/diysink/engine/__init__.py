"""Work on this process or on local worker processes: shards of records, and any other tasks."""

from diysink.engine.device import resolve_device
from diysink.engine.processes import Send, WorkerDiedError, in_processes
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
from diysink.engine.shards import run_shards

__all__ = [
    "DTYPES",
    "Send",
    "ShardSpec",
    "Task",
    "WorkerDiedError",
    "encode_shard",
    "first_image",
    "in_processes",
    "loaded",
    "resolve_device",
    "run_shards",
    "split",
    "threads",
]
