"""From the parameters ``device``, ``dtype`` and ``threads`` to torch's own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """``auto`` is the first NVIDIA GPU if there is one, else the CPU; other names are torch's own.

    Raises:
        ValueError: a GPU is asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device is {name!r}, but torch {torch.__version__} finds no NVIDIA GPU here. Set "
            "device to auto or cpu, or install a build of torch for your GPU."
        )
    return device


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Torch's threads set to a number: how a sum is split decides its last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
