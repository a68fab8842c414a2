"""Gradients of zeros for what a batch had no use for."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def untouched(module: nn.Module) -> Float[Tensor, ""]:
    """A zero; backward through it, every trained parameter of ``module`` gets a gradient of zeros.

    Nothing of the parameters is read, so that it is 0 even where one of them is not finite.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    if not trained:
        return torch.zeros(())
    return torch.stack([p.flatten()[:0].sum().float() for p in trained]).sum()
