"""What a metric is: tables that add up over images, and values of them with bootstrap replicates.

Every table has a first axis of replicates + 1 rows: row 0 is the data, the others are Poisson
bootstrap replicates over images (`diysink.sinks.bootstrap_weights`). So memory does not grow with
the number of images, and the sum of two parts is that of all images.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from diysink.census.layer import SeenLayer

Tables = dict[str, Float[Tensor, "rows ..."]]
Rows = Float[np.ndarray, " rows"]


class Metric(ABC):
    """One question about every layer.

    Class attributes:
        columns: name of each value, and what it is in one sentence.
        source: where the definition is from.
    """

    columns: ClassVar[Mapping[str, str]]
    source: ClassVar[str]

    @abstractmethod
    def tables(self, seen: SeenLayer, weights: Float[Tensor, "batch rows"]) -> Tables:
        """Tables of one batch; none where the layer does not show what is needed."""

    @abstractmethod
    def values(self, tables: Tables) -> dict[str, Rows]:
        """Each value from the sums of all tables: of the data, then of every replicate."""


class MeanOverImages(Metric):
    """A metric whose values are means of one number an image; NaN where an image has none."""

    @abstractmethod
    def per_image(self, seen: SeenLayer) -> dict[str, Float[Tensor, " batch"]]:
        """One number for each image; none where the layer does not show what is needed."""

    def tables(self, seen: SeenLayer, weights: Float[Tensor, "batch rows"]) -> Tables:
        """Weighted sums and numbers of images."""
        found: Tables = {}
        for name, value in self.per_image(seen).items():
            there = value.isfinite()
            number = value.double().where(there, 0.0).to(weights.device)
            found[f"{name} sum"] = number @ weights
            found[f"{name} images"] = there.double().to(weights.device) @ weights
        return found

    def values(self, tables: Tables) -> dict[str, Rows]:
        """Means; NaN where no image has a number."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                name: tables[f"{name} sum"].numpy() / tables[f"{name} images"].numpy()
                for name in self.columns
                if f"{name} sum" in tables
            }
