"""One image under an encoder, layer by layer: what the census page draws on it."""

from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Bool, Float

MOST_CELLS = 16
"""Relevance is kept for at most this many rows and columns of cells: it is by far the largest."""


@dataclass(frozen=True)
class Example:
    """What every layer of an encoder makes of one image. Layer 0 is what enters the first block.

    Patches and cells are in raster order.

    Attributes:
        name: of the image; any text.
        image: JPEG or PNG, as the encoder sees it: after resizing and cropping.
        grid: rows and columns of patches.
        norms: L2 norm of each hidden state.
        received: attention that each patch receives in the block that wrote the layer, over an
            even share, heads averaged. A layer without attention (layer 0) is NaN.
        received_by_head: the same for each head.
        sinks: which patches are sinks.
        states: hidden states, projected to about 32 dimensions in a way that keeps cosines.
        relevance: from which cells of the image each patch draws, by attention rollout
            (arXiv 2005.00928); not negative. None: not known.
        cells: rows and columns of the cells, at most 16 each; None with the relevance.

    Raises:
        ValueError: arrays do not fit each other, or hold numbers that no page can show.
    """

    name: str
    image: bytes
    grid: tuple[int, int]
    norms: Float[np.ndarray, "layers patches"]
    received: Float[np.ndarray, "layers patches"]
    received_by_head: Float[np.ndarray, "layers heads patches"]
    sinks: Bool[np.ndarray, "layers patches"]
    states: Float[np.ndarray, "layers patches kept"]
    relevance: Float[np.ndarray, "layers patches cells"] | None
    cells: tuple[int, int] | None

    def __post_init__(self) -> None:
        layers, patches = self.layers, prod(self.grid)
        if self.cells is not None and (min(self.cells) < 1 or max(self.cells) > MOST_CELLS):
            raise ValueError(
                f"{self.name}: cells are {self.cells[0]} x {self.cells[1]}; give 1 to "
                f"{MOST_CELLS} rows and columns."
            )
        expected: dict[str, tuple[int, ...]] = {
            "norms": (layers, patches),
            "received": (layers, patches),
            "received_by_head": (layers, self.heads, patches),
            "sinks": (layers, patches),
            "states": (layers, patches, self.states.shape[-1]),
        }
        if self.relevance is not None and self.cells is not None:
            expected["relevance"] = (layers, patches, prod(self.cells))
        if (self.relevance is None) != (self.cells is None):
            raise ValueError(f"{self.name}: relevance and cells are given together or not at all.")
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"{self.name}: {name} has the shape {getattr(self, name).shape}; "
                    f"{shape} was expected of a grid of {self.grid[0]} x {self.grid[1]} patches."
                )
        for name in expected.keys() & {"norms", "states", "relevance"}:
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{self.name}: {name} holds NaN or infinity.")
        for name in expected.keys() & {"norms", "relevance"}:
            if (getattr(self, name) < 0).any():
                raise ValueError(f"{self.name}: {name} holds negative numbers.")

    @property
    def layers(self) -> int:
        """How many, with layer 0."""
        return int(self.norms.shape[0])

    @property
    def heads(self) -> int:
        """Attention heads of a layer."""
        return int(self.received_by_head.shape[1])
