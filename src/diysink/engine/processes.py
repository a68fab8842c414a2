"""Work side by side in local processes, which end with the process that started them.

Processes are forked from a server that has imported the heavy libraries once (``forkserver``): the
imports of torch, transformers and Lightning take longer than many a piece of work.
"""

import logging
import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from logging.handlers import QueueHandler
from multiprocessing import connection
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
Send = Callable[[Any], None]
"""Hands a message, any picklable value, to the process that started the work."""

peak_bytes = 0
"""Highest resident set of any worker so far. They are the server's children, not this process's."""

_POLL = 0.1  # seconds between two looks for messages
_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


class WorkerDiedError(RuntimeError):
    """A worker process ended without an answer."""


def in_processes(
    call: Callable[[Task, Send], Result],
    tasks: Sequence[Task],
    num_processes: int,
    *,
    receive: Send = lambda message: None,
    preload: Sequence[str] = (),
) -> Iterator[tuple[Task, Result]]:
    """Results of ``call(task, send)``, in the order in which they are done.

    When the consumer stops, by an exception or a signal's, the processes end at once: work of which
    a part is worth keeping keeps it on disk. What they log is logged here.

    Args:
        call: a function that can be pickled.
        tasks: hashable; pickled with their results.
        num_processes: 0 works in this process, one task after another. A script that calls this
            with more needs ``if __name__ == "__main__":``.
        receive: called in this process with every message that ``call`` sends.
        preload: modules that are imported once for all processes.

    Raises:
        WorkerDiedError: a process was killed, perhaps for memory.
        Exception: what ``call`` raised, with its traceback there as the cause.
    """
    global peak_bytes
    if num_processes == 0 or not tasks:
        for task in tasks:
            yield task, call(task, receive)
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *preload])
    messages: SimpleQueue[Any] = context.SimpleQueue()
    parent_lives, alive = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        min(num_processes, len(tasks)),
        mp_context=context,
        initializer=_begin,
        initargs=(messages, parent_lives, logging.getLogger().getEffectiveLevel()),
    )
    try:  # a worker may die while work is still being handed out
        waiting = {pool.submit(_call, call, task): task for task in tasks}
        while waiting:
            done, _ = wait(waiting, _POLL, FIRST_COMPLETED)
            while not messages.empty():
                _deliver(messages.get(), receive)
            for future in done:
                result, used = future.result()
                peak_bytes = max(peak_bytes, used)
                yield waiting.pop(future), result
    except BaseException as error:
        alive.close()  # every worker sees the end of the pipe
        if isinstance(error, BrokenProcessPool):
            raise WorkerDiedError(
                "A worker process was killed or ran out of memory. What was finished is kept: run "
                "again, with fewer processes or a smaller batch if memory was the reason."
            ) from error
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        alive.close()


def _deliver(message: Any, receive: Send) -> None:
    if not isinstance(message, logging.LogRecord):
        receive(message)
    elif (logger := logging.getLogger(message.name)).isEnabledFor(message.levelno):
        logger.handle(message)


# In a worker process.
_send: Send


class _Forward(QueueHandler):
    def enqueue(self, record: logging.LogRecord) -> None:
        _send(record)


def _begin(messages: Any, parent_lives: connection.Connection, level: int) -> None:
    """Send messages and logs to the parent; end when it ends, or when it lets go."""
    global _send
    _send = messages.put
    root = logging.getLogger()
    root.handlers = [_Forward(messages)]
    root.setLevel(level)
    # Signals of a terminal reach every process; what becomes of the work is the parent's to say.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    ends: list[Any] = [parent_lives] if parent is None else [parent_lives, parent.sentinel]
    threading.Thread(target=_end_with, args=(ends,), daemon=True).start()


def _end_with(ends: Sequence[Any]) -> None:
    connection.wait(ends)
    os._exit(1)


def _call(call: Callable[[Task, Send], Result], task: Task) -> tuple[Result, int]:
    result = call(task, _send)
    return result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
