"""Work in this process, or side by side in local processes by joblib's loky."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, TypeVar

from joblib import cpu_count
from joblib.externals.loky import get_reusable_executor

from diysink.engine.engine import AGAIN, WorkerDiedError, as_done
from diysink.engine.worker import begin, called, noted

Task = TypeVar("Task")
Result = TypeVar("Result")

_IDLE = 300.0  # seconds after which a worker without work ends
_used: list[Any] = []  # the executor of this process, if there is one


class LocalEngine:
    """As `diysink.engine.Engine`, on this machine.

    All of a process share one set of workers, so that the imports of torch and transformers, and a
    model that a worker has loaded, are paid for once. The workers end with this process, however it
    ends.

    Args:
        workers: processes; 0 works in this one, a task when its result is asked for.
    """

    def __init__(self, workers: int = 0) -> None:
        if workers < 0:
            raise ValueError(f"workers is {workers}; it must be 0 (this process) or more.")
        self.workers = workers

    def run(
        self, call: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """As `diysink.engine.Engine.run`."""
        if self.workers == 0:
            for task in tasks:
                yield task, call(task)
            return
        executor = self._executor()
        remote = partial(called, call, logging.getLogger().getEffectiveLevel())
        done = as_done(
            tasks,
            lambda: 2 * self.workers,
            partial(executor.submit, remote),
            lambda _: executor.shutdown(wait=True, kill_workers=True),
        )
        try:  # a worker may die while work is still being handed out
            for task, future in done:
                yield task, noted(future.result())
        except BrokenProcessPool as error:
            raise WorkerDiedError(
                f"A worker process was killed or ran out of memory. {AGAIN}"
            ) from error
        finally:
            done.close()

    def close(self) -> None:
        """As `diysink.engine.Engine.close`: the workers of all local engines of this process."""
        if _used:
            _used.pop().shutdown(wait=True, kill_workers=True)

    def _executor(self) -> Any:
        # Each has its share of the cores: with all of them, workers stand in each other's way.
        share = str(max(1, cpu_count() // self.workers))
        executor = get_reusable_executor(
            self.workers,
            timeout=_IDLE,
            initializer=begin,
            initargs=(os.getpid(),),
            env={"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", share)},
        )
        _used[:] = [executor]
        return executor
