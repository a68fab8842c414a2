"""What every engine does: one function, called with many tasks, somewhere."""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from typing import Any, Protocol, TypeVar, runtime_checkable

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerDiedError(RuntimeError):
    """A worker process, or the machine it ran on, ended without an answer."""


AGAIN = "What was finished is kept: run again, with fewer workers if memory was the reason."
"""What to do about a `WorkerDiedError`."""


@runtime_checkable
class Engine(Protocol):
    """Runs a pure function on tasks: in this process, in others, or on other machines."""

    def run(
        self, call: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Every task with ``call(task)``, in the order in which they are done.

        A few tasks more than there are workers are handed out, no more: ``tasks`` may be lazy and
        without end, and memory stays flat. When the consumer stops, by an exception or a signal's,
        the work ends at once: work of which a part is worth keeping keeps it on disk.

        Args:
            call: can be pickled; what all tasks have in common belongs in it (`functools.partial`).
            tasks: can be pickled, and their results as well.

        Raises:
            WorkerDiedError: a worker ended without an answer.
            Exception: what ``call`` raised, with its traceback there as the cause.
        """

    def close(self) -> None:
        """End the workers; `run` starts them again. They stay warm from one `run` to the next."""


def as_done(
    tasks: Iterable[Task],
    ahead: Callable[[], int],
    submit: Callable[[Task], "Future[Any]"],
    cancel: Callable[[Collection["Future[Any]"]], Any],
) -> Generator[tuple[Task, "Future[Any]"]]:
    """Tasks and their futures, each when it is done; the consumer sets the pace.

    Args:
        tasks: may be lazy.
        ahead: how many futures may be open now.
        submit: hands a task out.
        cancel: called with the open futures when the consumer stops early.
    """
    tasks = iter(tasks)
    waiting: dict[Future[Any], Task] = {}
    try:
        while True:
            for task in islice(tasks, max(0, ahead() - len(waiting))):
                waiting[submit(task)] = task
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future
    finally:
        if waiting:
            cancel(waiting)
