"""Settings of Lightning's Trainer, and whether the processes that they ask for were started."""

from dataclasses import dataclass
from typing import Annotated, get_args

from annotated_types import Ge

from diysink.training.ranks import launcher
from diysink.training.strategies import LAUNCHED, StrategyName


@dataclass(frozen=True)
class FitSettings:
    """Settings of Lightning's Trainer; everything about the machine is here.

    Attributes:
        accelerator: ``auto``, ``cpu``, ``gpu``, ...
        devices: how many on each machine, or which. The global batch grows with them, so they are
            counted and not found.
        num_nodes: machines.
        strategy: ``auto`` for one device. For several: ``ddp`` (each has all of the model) or
            ``fsdp2`` (each has a part of it), whose processes torchrun or srun starts;
            ``ddp_spawn`` or ``ddp_fork``, which start their own on one machine.
        precision: ``32-true``, ``bf16-mixed``, ...
        accumulate_grad_batches: micro-batches per optimizer step; its loss is the mean over all
            their tokens.
        gradient_clip_val: largest gradient norm.
        gradient_checkpointing: compute the language model's activations again in the backward pass
            instead of storing them: the same gradients, less memory, about a third slower.
        every_n_train_steps: optimizer steps between resumable checkpoints.
        enable_progress_bar: show progress bars.

    Raises:
        ValueError: an unknown strategy, or one for another number of devices.
    """

    accelerator: str = "auto"
    devices: int | list[int] = 1
    num_nodes: Annotated[int, Ge(1)] = 1
    strategy: StrategyName = "auto"
    precision: str = "32-true"
    accumulate_grad_batches: Annotated[int, Ge(1)] = 1
    gradient_clip_val: Annotated[float, Ge(0)] = 1.0
    gradient_checkpointing: bool = False
    every_n_train_steps: Annotated[int, Ge(1)] = 100
    enable_progress_bar: bool = True

    def __post_init__(self) -> None:
        known = get_args(StrategyName)
        if self.strategy not in known:
            raise ValueError(f"strategy is {self.strategy!r}; it must be one of {', '.join(known)}")
        if self.strategy == "auto" and self.processes != 1:
            raise ValueError(
                f"strategy is 'auto', which is for one device, but there are {self.processes} "
                "(devices x num_nodes): name ddp, or fsdp2 for a model that is too large for one"
            )
        if self.num_nodes > 1 and self.strategy not in LAUNCHED:
            raise ValueError(
                f"{self.strategy} starts processes on one machine, but num_nodes is "
                f"{self.num_nodes}: name ddp or fsdp2, and start with torchrun or srun"
            )

    @property
    def processes(self) -> int:
        """Processes of a training, over all machines."""
        here = self.devices if isinstance(self.devices, int) else len(self.devices)
        return here * self.num_nodes

    @property
    def launched(self) -> bool:
        """Whether a training's processes are started from outside, by torchrun or srun."""
        return self.strategy in LAUNCHED


def check_started(settings: FitSettings) -> None:
    """Raise `ValueError` unless torchrun or srun started the processes that a training needs."""
    environment = launcher() if settings.launched else None
    started = 1 if environment is None else environment.world_size()
    if settings.launched and started != settings.processes:
        here = settings.processes // settings.num_nodes
        raise ValueError(
            f"strategy {settings.strategy} with {settings.num_nodes} x {here} devices needs "
            f"{settings.processes} processes (num_nodes x devices), but there are {started}: start "
            f"`torchrun --nnodes {settings.num_nodes} --nproc_per_node {here} -m kedro run ...` or "
            "srun with as many tasks (docs/guides/scale.md), or set devices and num_nodes"
        )
