"""Shards to statistics, on this process or on local worker processes; what is done is never redone.

Every shard's statistics are a file in the workspace. Whatever was killed, whenever, the next run
computes the shards that are missing, and the sum of all is the same to the last bit.
"""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from diysink.artifact import Workspace
from diysink.engine.processes import Send, in_processes
from diysink.engine.shard import ShardSpec, encode_shard
from diysink.sinks import Statistics, total

logger = logging.getLogger(__name__)


def run_shards(specs: Sequence[ShardSpec], workspace: Workspace, workers: int = 0) -> Statistics:
    """Statistics of all shards together.

    Args:
        specs: the shards, of one task.
        workspace: keyed by all that determines the statistics (not by the number of workers).
        workers: local processes; 0 computes here (:func:`diysink.engine.in_processes`).

    Raises:
        WorkerDiedError: a worker was killed, perhaps for memory. Finished shards are kept.
        ValueError: no shard at all, or shards on different grids.
    """
    if not specs:
        raise ValueError("There are no shards: the records are empty.")
    folder = workspace.folder("shards")
    files = {spec: folder / f"{_name(spec)}.safetensors" for spec in specs}
    missing = [spec for spec in specs if workspace.finished(_name(spec)) is None]
    done = len(specs) - len(missing)
    if done:
        logger.info("%d of %d shards were done before", done, len(specs))
    encode = partial(_encode, folder)
    for spec, digest in in_processes(encode, missing, workers, preload=["diysink.engine"]):
        workspace.finish(_name(spec), digest, [files[spec]])
        done += 1
        logger.info("shard %d of %d: records %d to %d", done, len(specs), spec.start, spec.stop - 1)
    return total((Statistics.load(path) for path in files.values()), specs[0].layout)


def _encode(folder: Path, spec: ShardSpec, send: Send) -> str:
    statistics = encode_shard(spec)
    statistics.save(folder / f"{_name(spec)}.safetensors")
    return statistics.digest


def _name(spec: ShardSpec) -> str:
    return f"records-{spec.start:09d}-{spec.stop:09d}"
