"""Work on a Ray cluster: this machine's processes, or many machines."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from joblib import cpu_count

from diysink.engine.engine import AGAIN, WorkerDiedError, as_done
from diysink.engine.worker import called, noted

Task = TypeVar("Task")
Result = TypeVar("Result")

_FORWARDED = ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "OMP_WAIT_POLICY")


_connected: list["RayEngine"] = []  # the engine that connected this process, if one did


class RayEngine:
    """As `diysink.engine.Engine`, by tasks of Ray.

    What all tasks share goes to the cluster once, and results come back through its object store:
    no shared file system is needed for them. A task whose worker or machine dies is tried again.

    Args:
        workers: tasks at once; 0 is as many as the cluster has room for, also when it grows.
        address: ``auto`` (the cluster that this machine is part of), ``host:port`` or ``ray://...``;
            None starts one on this machine, which ends with this process.
        num_cpus: cores of one worker.
        num_gpus: GPUs of one worker; a part, as 0.5, lets workers share one.
        max_retries: how often a task is tried again whose worker or machine died.
        runtime_env: of Ray, e.g. ``{"working_dir": "."}`` where this code is not installed on the
            machines of the cluster.
    """

    def __init__(
        self,
        workers: int = 0,
        address: str | None = None,
        num_cpus: float = 1,
        num_gpus: float = 0,
        max_retries: int = 3,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        if workers < 0:
            raise ValueError(f"workers is {workers}; it must be 0 (as many as fit) or more.")
        self.workers, self.address = workers, address
        self.num_cpus, self.num_gpus = num_cpus, num_gpus
        self.max_retries, self.runtime_env = max_retries, dict(runtime_env or {})

    def run(
        self, call: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """As `diysink.engine.Engine.run`.

        Raises:
            ValueError: no machine of the cluster has the cores and GPUs of one worker.
        """
        ray = _ray()
        self._connect(ray)
        self._ahead(ray, first=True)
        function = ray.remote(
            num_cpus=self.num_cpus,
            num_gpus=self.num_gpus,
            max_retries=self.max_retries,
            max_calls=0,  # GPU workers of Ray would end after each task, and their models with them
        )(called)
        shared, level = ray.put(call), logging.getLogger().getEffectiveLevel()
        done = as_done(
            tasks,
            partial(self._ahead, ray),
            lambda task: function.remote(shared, level, task).future(),
            partial(_cancel, ray),
        )
        try:
            for task, future in done:
                yield task, noted(_result(ray, future))
        finally:
            done.close()

    def close(self) -> None:
        """End the cluster that this process started, or leave the one that was there."""
        if _connected:
            _connected.clear()
            _ray().shutdown()

    def _connect(self, ray: Any) -> None:
        if ray.is_initialized():
            return
        own: dict[str, Any] = {}
        if self.address is None:
            cores = max(cpu_count(), round(self.workers * self.num_cpus))
            own = {"num_cpus": cores, "include_dashboard": False}
            own |= {"runtime_env": self.runtime_env or None}
        else:  # what keeps this process from calling others holds for workers elsewhere as well
            own = {"runtime_env": self._environment()}
        before = signal.getsignal(signal.SIGTERM)
        ray.init(
            self.address or "local",
            namespace="diysink",
            log_to_driver=True,
            logging_level=logging.WARNING,
            **own,
        )
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray has put its own handler there
        _connected.append(self)

    def _environment(self) -> dict[str, Any]:
        said = {name: os.environ[name] for name in _FORWARDED if name in os.environ}
        return self.runtime_env | {"env_vars": said | self.runtime_env.get("env_vars", {})}

    def _ahead(self, ray: Any, *, first: bool = False) -> int:
        if self.workers:
            return self.workers
        needs = {"CPU": self.num_cpus, "GPU": self.num_gpus}
        room = sum(
            min(int(node["Resources"].get(kind, 0) / need) for kind, need in needs.items() if need)
            for node in ray.nodes()
            if node["Alive"]
        )
        if not room and first:
            raise ValueError(
                f"No machine of the Ray cluster has {needs['CPU']:g} CPUs and {needs['GPU']:g} "
                "GPUs for one worker: look at `ray status`, and lower ray.num_cpus or ray.num_gpus."
            )
        return 2 * max(room, 1)  # a machine that has gone may come again


def _ray() -> Any:
    # Before its import: nothing phones home.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Nor does work wait for whatever else this machine does: Ray asks for the lowest priority.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # A worker without GPUs does not see any: as it is today, and without the warning of a change.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            "engine: ray needs Ray, which is not installed: pip install 'diysink[scale]', or set "
            "engine: local."
        ) from error
    return ray


def _cancel(ray: Any, futures: Collection[Any]) -> None:
    for future in futures:
        ray.cancel(future.object_ref, force=True)


def _result(ray: Any, future: Any) -> Any:
    errors = ray.exceptions
    try:
        return future.result()
    except errors.RayTaskError as error:
        if not isinstance(error.cause, Exception):
            raise
        raise error.cause from error
    except (
        errors.WorkerCrashedError,
        errors.NodeDiedError,
        errors.ObjectLostError,
        errors.OutOfMemoryError,
        errors.RaySystemError,
    ) as error:
        raise WorkerDiedError(
            "A worker of the Ray cluster, or its machine, died each time that a task was tried. "
            + AGAIN
        ) from error
