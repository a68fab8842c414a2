"""The grid of norms that everything is counted on, and what else fixes a table's shape."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from diysink.sinks.threshold import relative_norms

PER_OCTAVE = 16  # bins to a doubling of the norm: a bin is 4.4 % wide
OCTAVES = 10  # on either side of the anchor
BINS = 2 * OCTAVES * PER_OCTAVE
REACH = 160  # octaves on either side of the anchor: every float32 number but 0, near enough
MOST_COUNTED = 128  # images with this many sinks or more are counted together


@dataclass(frozen=True)
class Layout:
    """What two statistics must share before they can be added.

    The grid is logarithmic and has ``anchor`` as one of its edges, so that counts at that
    threshold are exact. Bin b holds edges[b] <= norm < edges[b + 1]; the first and last bin hold
    what lies beyond as well, and a table of whole octaves says how many tokens that are.

    Attributes:
        rows, columns: of patches; 0, and ``dim`` too, where norms alone are counted
            (`diysink.sinks.measure_norms`), of images of any size.
        dim: width of the hidden states; 0: nothing is counted by dimension.
        anchor: a norm that is an edge (the paper's tau of 100).
        relative: whether norms are counted over the median norm of their image.
        replicates: bootstrap replicates.
        seed: of the bootstrap.
    """

    rows: int = 0
    columns: int = 0
    dim: int = 0
    anchor: float = 100.0
    relative: bool = False
    replicates: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        grid = self.norms_alone or min(self.rows, self.columns) >= 1
        if not (self.anchor > 0 and self.replicates >= 1 and grid):
            raise ValueError(
                f"anchor is {self.anchor}, replicates {self.replicates}, grid {self.rows} x "
                f"{self.columns}: the anchor must be a positive norm, the others at least 1 (or "
                "rows, columns and dim all 0, to count norms alone)."
            )

    @property
    def norms_alone(self) -> bool:
        """Whether nothing but norms is counted: there is no grid of patches."""
        return (self.rows, self.columns, self.dim) == (0, 0, 0)

    @cached_property
    def edges(self) -> Float[np.ndarray, " edges"]:
        """Norms at the edges of the bins, each a float32 number, as the norms are."""
        steps = np.arange(-OCTAVES * PER_OCTAVE, OCTAVES * PER_OCTAVE + 1) / PER_OCTAVE
        return (self.anchor * 2.0**steps).astype(np.float32).astype(np.float64)

    def bins(self, norms: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
        """The bin of each norm."""
        inner = torch.tensor(self.edges[1:-1]).to(norms)  # a copy: from Ray arrays are read-only
        return torch.bucketize(norms, inner, right=True)

    def counted(self, norms: Float[Tensor, "*images tokens"]) -> Float[Tensor, "*images tokens"]:
        """Norms of each image's tokens as this grid counts them."""
        return relative_norms(norms) if self.relative else norms

    @cached_property
    def octave_edges(self) -> Float[np.ndarray, " octaves"]:
        """Norms at the edges of whole octaves, far beyond the grid."""
        return np.float64(np.float32(self.anchor)) * 2.0 ** np.arange(-REACH, REACH + 1)

    def octaves(self, norms: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
        """The octave of each norm: 0 below all of `octave_edges`, o from edge o - 1 upwards."""
        return torch.bucketize(norms.double(), torch.tensor(self.octave_edges), right=True)

    def between(self, low: Float[Tensor, "..."], high: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
        """The inner edge that is nearest to the middle of two norms, in logarithms."""
        squares = torch.from_numpy(self.edges[1:-2] * self.edges[2:-1])
        return 1 + torch.bucketize(low.double() * high.double(), squares, right=True)

    def nearest_edge(self, norm: float) -> int:
        """Index of the edge nearest to a norm, in logarithms."""
        return int(np.abs(np.log(self.edges) - np.log(norm)).argmin())

    @property
    def positions(self) -> int:
        """Patches in an image."""
        return self.rows * self.columns

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)
