"""How a census is made."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from diysink.device import DTYPES, threads


@dataclass(frozen=True)
class Options:
    """How a census is made.

    Attributes:
        layers: to measure, 0 is what enters the first block; negative ones count from the last;
            None: all.
        limit: of images; None: all.
        size: side in pixels that images are prepared to; None: the checkpoint's own.
        device: ``auto``, ``cpu``, ``cuda``, ...
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        threads: of torch, in each process; None: as they are set here. Another number may change
            the last bit of a float.
        batch_size: images to a forward pass.
        save_every: batches between two looks at the disk.
        examples: images that the page shows, spread over those that were measured.
        replicates: of the bootstrap over images.
        seed: of the bootstrap.
        causes: whether it is asked what gives the largest-norm patch its norm
            (`diysink.census.causes`).
    """

    layers: Sequence[int] | None = None
    limit: int | None = None
    size: int | None = None
    device: str = "auto"
    dtype: str = "float32"
    threads: int | None = None
    batch_size: int = 16
    save_every: int = 8
    examples: int = 6
    replicates: int = 200
    seed: int = 0
    causes: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}; it must be one of {', '.join(DTYPES)}.")
        wanted = {
            name: getattr(self, name)
            for name in ("limit", "size", "threads", "batch_size", "save_every", "replicates")
        }
        if min(1 if one is None else one for one in wanted.values()) < 1:
            raise ValueError(f"{', '.join(wanted)} must be at least 1.")

    def in_threads(self) -> AbstractContextManager[None]:
        """While torch has as many threads as were asked for."""
        return nullcontext() if self.threads is None else threads(self.threads)
