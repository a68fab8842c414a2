"""From the parameter ``device`` to a device of torch."""

import torch


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
