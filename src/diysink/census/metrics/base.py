"""What a metric is: tables that add up over images, and values of them with bootstrap replicates.

Every table has a first axis of replicates + 1 rows: row 0 is the data, the others are Poisson
bootstrap replicates over images (`diysink.sinks.bootstrap_weights`). So memory does not grow with
the number of images, and the sum of two parts is that of all images.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from diysink.census.layer import SeenLayer

Tables = dict[str, Float[Tensor, "rows ..."]]
Rows = Float[np.ndarray, " rows"]


@dataclass(frozen=True)
class Quantity:
    """One number of a layer.

    Attributes:
        name: in the card.
        label: for a column of the table.
        how: how to read it: what it is, then what a high or a low value means.
        source: arXiv number or title of the definition; empty where it is no paper's.
        unit: ``share`` is shown in percent.
    """

    name: str
    label: str
    how: str
    source: str = ""
    unit: Literal["number", "share"] = "number"


class Metric(ABC):
    """One question about every layer.

    Class attributes:
        columns: what it gives.
    """

    columns: ClassVar[tuple[Quantity, ...]]

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
                one.name: tables[f"{one.name} sum"].numpy() / tables[f"{one.name} images"].numpy()
                for one in self.columns
                if f"{one.name} sum" in tables
            }
