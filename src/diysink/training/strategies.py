"""Lightning's strategies by the names in a training's settings; sharded checkpoints for FSDP2."""

import copy
from pathlib import Path
from typing import Any, Literal, TypeVar, no_type_check

import torch
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from diysink.artifact import beside, remove
from diysink.artifact.atomic import sync
from diysink.training.checkpoints import REST

Model = TypeVar("Model", bound=nn.Module)
StrategyName = Literal["auto", "ddp", "fsdp2", "ddp_spawn", "ddp_fork"]
LAUNCHED: tuple[StrategyName, ...] = ("ddp", "fsdp2")
"""Those whose processes torchrun or srun starts; the others start their own, or have one."""


def strategy_of(name: StrategyName, processes: int) -> Strategy | str:
    """What Lightning's Trainer takes for a name.

    Args:
        name: of the settings.
        processes: of the training, over all machines.
    """
    if name == "fsdp2":
        return FullyShardedStrategy(processes)
    return name


class FullyShardedStrategy(ModelParallelStrategy):
    """FSDP2: every process holds a part of each weight, gradient and moment of the optimizer.

    A checkpoint is a folder to which each process writes its own part. It holds what is trained
    and no more, and has its name when it is whole.

    Args:
        processes: of the training, over all machines.
    """

    def __init__(self, processes: int) -> None:
        super().__init__(data_parallel_size=processes, tensor_parallel_size=1)

    @no_type_check
    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: Path | str, storage_options: Any | None = None
    ) -> None:
        """Write under a temporary name; rank 0 renames when all have written.

        Raises:
            OSError: it cannot be written.
        """
        path = Path(self.broadcast(filepath))
        temporary = self.broadcast(beside(path))
        super().save_checkpoint(checkpoint, temporary, storage_options)
        if self.is_global_zero:  # the last to write is rank 0, after the others
            sync(temporary / REST)
            sync(temporary)
            remove(path)
            temporary.replace(path)
            sync(path.parent)
        self.barrier()

    @no_type_check
    def load_checkpoint(
        self, checkpoint_path: Path | str, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load this process's part, of what is trained; the rest is returned."""
        path = Path(self.broadcast(checkpoint_path))
        # Each once: input and output embeddings may be one matrix.
        trained = {name for name, p in self.model.named_parameters() if p.requires_grad}
        parts = get_model_state_dict(self.model)
        weights = {name: part for name, part in parts.items() if name in trained}
        load({"state_dict": weights}, checkpoint_id=path)
        set_model_state_dict(self.model, weights, options=StateDictOptions(strict=False))
        for number, optimizer in enumerate(self.optimizers):
            name = f"optimizer_{number}"
            state = {name: get_optimizer_state_dict(self.model, optimizer)}
            load(state, checkpoint_id=path)
            set_optimizer_state_dict(self.model, optimizer, state[name])
        return torch.load(path / REST, weights_only=weights_only)


def skeleton(model: Model) -> Model:
    """A copy of a model whose parameters are on the meta device: without their memory."""
    empty = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad)
        for p in model.parameters()
    }
    return copy.deepcopy(model, empty)


def shard(model: nn.Module, layers: nn.ModuleList, mesh: DeviceMesh) -> None:
    """Shard a model in place: each of the layers on its own, and all the rest together.

    The rest is whole in every process while a step lasts. So a process may leave parts of it out
    in a step, as the vision tower where a batch has no image, and nobody waits for it.

    Args:
        model: on any device.
        layers: of its language model.
        mesh: the processes, along one dimension.
    """
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def gather(sharded: nn.Module, whole: nn.Module) -> None:
    """Fill ``whole``, a skeleton of the model, on rank 0's CPU; all processes must call it."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(sharded, options=options)
    if torch.distributed.get_rank() == 0:
        whole.load_state_dict(state, assign=True)
