"""Where the shipped parts of the miniature are."""

from importlib.resources import files
from pathlib import Path

PARTS = ("encoder", "control", "conflict", "language", "sentence")


def path(name: str) -> Path:
    """The Hugging Face folder of a shipped part.

    Args:
        name: "encoder" (INDUCED sinks), "control" (the same without induction), "conflict" (INDUCED
            sinks that share directions with objects), "language" or "sentence".

    Raises:
        ValueError: for another name.
        FileNotFoundError: if the installation lacks the weights.
    """
    if name not in PARTS:
        raise ValueError(f"No part {name!r} in the miniature; it has: {', '.join(PARTS)}.")
    folder = Path(str(files("diysink.miniature"))) / "weights" / name
    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(
            f"{folder} holds no model.safetensors: the installation is not complete. Install the "
            "package again, or build the miniature anew: kedro run --pipelines miniature"
        )
    return folder
