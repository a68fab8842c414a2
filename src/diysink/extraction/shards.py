"""Shards to statistics, on any engine; what is done is never redone.

Workers give statistics back, and this process writes those of every shard to a file in the
workspace. Whatever was killed, whenever, the next run computes the shards that are missing, and the
sum of all is the same to the last bit.
"""

import logging
from collections.abc import Sequence

import rich
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from diysink.artifact import Workspace
from diysink.engine import Engine, LocalEngine
from diysink.extraction.shard import ShardSpec, encode_shard
from diysink.sinks import Statistics, total

logger = logging.getLogger(__name__)


def run_shards(
    specs: Sequence[ShardSpec],
    workspace: Workspace,
    engine: Engine | None = None,
    *,
    progress: bool = False,
) -> Statistics:
    """Statistics of all shards together.

    Args:
        specs: the shards, of one task.
        workspace: keyed by all that determines the statistics (not by the engine).
        engine: where shards are computed; None is this process.
        progress: whether a bar is shown.

    Raises:
        WorkerDiedError: a worker ended without an answer. Finished shards are kept.
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
    with Progress(
        *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn(),
        console=rich.get_console(), disable=not progress,
    ) as bar:  # fmt: skip
        task = bar.add_task("shards", total=len(specs), completed=done)
        for spec, statistics in (engine or LocalEngine()).run(encode_shard, missing):
            statistics.save(files[spec])
            workspace.finish(_name(spec), statistics.digest, [files[spec]])
            done += 1
            bar.advance(task)
            places = f"records {spec.start} to {spec.stop - 1}"
            logger.info("shard %d of %d: %s", done, len(specs), places)
    return total((Statistics.load(path) for path in files.values()), specs[0].layout)


def _name(spec: ShardSpec) -> str:
    return f"records-{spec.start:09d}-{spec.stop:09d}"
