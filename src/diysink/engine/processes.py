"""Shards to statistics, on this process or on local worker processes; what is done is never redone.

Every shard's statistics are a file in the workspace. Whatever was killed, whenever, the next run
computes the shards that are missing, and the sum of all is the same to the last bit.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path

from diysink.artifact import Workspace
from diysink.engine.shard import ShardSpec, encode_shard
from diysink.sinks import Statistics, total

logger = logging.getLogger(__name__)


class WorkerDiedError(RuntimeError):
    """A worker process ended without an answer."""


def run_shards(specs: Sequence[ShardSpec], workspace: Workspace, workers: int = 0) -> Statistics:
    """Statistics of all shards together.

    Args:
        specs: the shards, of one task.
        workspace: keyed by all that determines the statistics (not by the number of workers).
        workers: local processes; 0 computes here. They are spawned, so a script that calls this
            with workers needs ``if __name__ == "__main__":``.

    Raises:
        WorkerDiedError: a worker was killed, perhaps for memory. Finished shards are kept.
        ValueError: no shard at all, or shards on different grids.
    """
    if not specs:
        raise ValueError("There are no shards: the records are empty.")
    folder = workspace.folder("shards")
    files = {spec: folder / f"{_name(spec)}.safetensors" for spec in specs}
    missing = [spec for spec in specs if workspace.finished(_name(spec)) is None]
    if len(missing) < len(specs):
        logger.info("%d of %d shards were done before", len(specs) - len(missing), len(specs))
    computed = _here(missing, folder) if workers == 0 else _spawned(missing, folder, workers)
    done = len(specs) - len(missing)
    for spec, digest in computed:
        workspace.finish(_name(spec), digest, [files[spec]])
        done += 1
        logger.info("shard %d of %d: records %d to %d", done, len(specs), spec.start, spec.stop - 1)
    return total((Statistics.load(path) for path in files.values()), specs[0].layout)


def _here(specs: Sequence[ShardSpec], folder: Path) -> Iterator[tuple[ShardSpec, str]]:
    for spec in specs:
        yield spec, _encode(spec, folder)


def _spawned(
    specs: Sequence[ShardSpec], folder: Path, workers: int
) -> Iterator[tuple[ShardSpec, str]]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers, max(1, len(specs))), mp_context=context, initializer=_end_with_parent
    ) as pool:
        try:  # a worker may die while work is still being handed out
            waiting = {pool.submit(_encode, spec, folder): spec for spec in specs}
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BrokenProcessPool as error:
            raise WorkerDiedError(
                "A worker process was killed or ran out of memory. Finished shards are kept: run "
                "again, with fewer workers or a smaller batch if memory was the reason."
            ) from error
        finally:
            # Before the block's own end, which would let all that waits be computed first.
            pool.shutdown(wait=True, cancel_futures=True)


def _encode(spec: ShardSpec, folder: Path) -> str:
    statistics = encode_shard(spec)
    statistics.save(folder / f"{_name(spec)}.safetensors")
    return statistics.digest


def _name(spec: ShardSpec) -> str:
    return f"records-{spec.start:09d}-{spec.stop:09d}"


def _end_with_parent() -> None:
    """Leave no worker behind when the process that started it is killed.

    Ctrl-C reaches every process of a terminal; what becomes of the work is the parent's to say.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
