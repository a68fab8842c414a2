"""The processes that torchrun or srun started: rank 0 does all the work, the others help to train.

One process plans, reads, tracks and publishes, as it would alone. The others wait until it calls
for them, and then make the same call as it does. So nothing outside a training has to know that
there are several processes.

Calls travel by the store through which the processes found each other (torch's rendezvous), not by
a process group: a wait of hours is no time-out there, and Lightning makes its own group.
"""

import os
import pickle
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch.distributed.rendezvous import rendezvous

_POLL = 0.1  # seconds between two looks for a call
_FAREWELL = 60.0  # seconds; under srun the store is rank 0's, and ends with it
_DONE = b""
_LEFT = "diysink/left"


class LeaderLostError(RuntimeError):
    """Rank 0 ended without a word to the others."""


class Ranks:
    """This process among those that were started together.

    Args:
        environment: Lightning's view of the launcher.

    Attributes:
        rank: this process's number, from 0, over all machines.
        size: number of processes.
    """

    def __init__(self, environment: ClusterEnvironment) -> None:
        self.rank, self.size = environment.global_rank(), environment.world_size()
        self._environment = environment
        self._calls = 0

    def meet(self) -> None:
        """Wait until all processes are there; each calls this once, before all else.

        Raises:
            RuntimeError: some of them did not come within half an hour.
        """
        os.environ["MASTER_ADDR"] = self._environment.main_address
        os.environ["MASTER_PORT"] = str(self._environment.main_port)
        self._store, _, _ = next(rendezvous("env://", self.rank, self.size))

    def tell(self, call: Callable[..., object], *arguments: Any) -> None:
        """In rank 0: let the others make a call, as this process is about to do.

        Args:
            call: a function that can be pickled, with its arguments.
            arguments: of the call.
        """
        self._send(pickle.dumps((call, arguments)))

    def dismiss(self) -> None:
        """In rank 0: tell the others that nothing more will come, and let them hear it."""
        self._send(_DONE)
        end = time.monotonic() + _FAREWELL
        while self._store.add(_LEFT, 0) < self.size - 1 and time.monotonic() < end:
            time.sleep(0.01)

    def follow(self) -> None:
        """In the other ranks: make rank 0's calls until it dismisses this process.

        Raises:
            LeaderLostError: rank 0 ended.
            Exception: what a call raised.
        """
        while True:
            self._calls += 1
            try:
                while not self._store.check([_key(self._calls)]):  # a signal can end this wait
                    time.sleep(_POLL)
                said = self._store.get(_key(self._calls))
            except torch.distributed.DistNetworkError as error:
                raise LeaderLostError(
                    f"rank {self.rank} of {self.size} waited for rank 0, which has ended: see what "
                    "that said. What was finished is kept: run again"
                ) from error
            if said == _DONE:
                self._store.add(_LEFT, 1)
                return
            call, arguments = pickle.loads(said)
            call(*arguments)

    def _send(self, said: bytes) -> None:
        self._calls += 1
        self._store.set(_key(self._calls), said)


def _key(call: int) -> str:
    return f"diysink/{call}"


def launcher() -> ClusterEnvironment | None:
    """What started this process beside others: torchrun or srun; None: it runs alone."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    # A batch script has SLURM's variables too; a step, which srun starts, has a number.
    if "SLURM_STEP_ID" in os.environ and SLURMEnvironment.detect():
        # Requeued or not, a run goes on from its own checkpoints.
        return SLURMEnvironment(auto_requeue=False)
    return None


@cache
def ranks() -> Ranks | None:
    """This process among those started together; None: it runs alone."""
    environment = launcher()
    return None if environment is None or environment.world_size() == 1 else Ranks(environment)
