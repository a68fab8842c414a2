"""An encoder of the same architecture that has learned nothing: the control of what a probe reads.

Pixels and positions come through random weights too, and a linear probe finds some of them there
(Zhang and Bowman 2018, "Language modeling teaches you more syntax than translation does", compare
with untrained encoders for that reason).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def untrained_like(tower: Any, seed: int) -> Any:
    """A tower of the same class and configuration, with the weights that training starts from.

    Args:
        tower: of transformers; it stays as it is.
        seed: of the weights, which do not depend on what else is drawn.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(tower)(tower.config)
    return fresh.to(tower.device, tower.dtype).eval().requires_grad_(requires_grad=False)


@contextmanager
def exchanged(model: nn.Module, name: str, module: nn.Module) -> Iterator[None]:
    """Another module in the place of one of a model's own."""
    own = getattr(model, name)
    setattr(model, name, module)
    try:
        yield
    finally:
        setattr(model, name, own)
