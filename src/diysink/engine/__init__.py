"""Pure functions on many tasks: in this process, in local processes, or on a cluster of Ray."""

from diysink.engine.cluster import RayEngine
from diysink.engine.device import resolve_device
from diysink.engine.engine import Engine, WorkerDiedError
from diysink.engine.local import LocalEngine
from diysink.engine.make import EngineName, make_engine
from diysink.engine.once import Once, made_there
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
    "Engine",
    "EngineName",
    "LocalEngine",
    "Once",
    "RayEngine",
    "ShardSpec",
    "Task",
    "WorkerDiedError",
    "encode_shard",
    "first_image",
    "loaded",
    "made_there",
    "make_engine",
    "resolve_device",
    "run_shards",
    "split",
    "threads",
]
