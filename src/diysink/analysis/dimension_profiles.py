"""|x[d]| / RMS(x) of every hidden dimension, by layer and set of tokens, as sums over images.

Per layer there are moments over images only; per image there is the mean over layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from diysink.analysis.table import ALL

SETS = ("vsink", "lsink", "first", "nonsink", "random-matched")


@dataclass(frozen=True)
class DimensionProfiles:
    """Profiles of some images; sets in the order of `SETS`.

    Attributes:
        total: sum over images of an image's mean, by layer and set.
        squares: sum of its squares.
        images: how many images have such a token.
        mean: per image the mean over those layers that have such a token; NaN without.
    """

    total: Float[ndarray, "layers sets dim"]
    squares: Float[ndarray, "layers sets dim"]
    images: Float[ndarray, "layers sets"]
    mean: Float[ndarray, "images sets dim"]

    @classmethod
    def of(
        cls,
        means: Float[ndarray, "layers images sets dim"],
        there: Float[ndarray, "layers images sets"],
    ) -> "DimensionProfiles":
        """From the mean over each set of tokens, and whether (1 or 0) an image has such tokens."""
        with np.errstate(invalid="ignore"):
            mean = (means * there[..., None]).sum(0) / there.sum(0)[..., None]
        squares = (means**2 * there[..., None]).sum(1)
        return cls((means * there[..., None]).sum(1), squares, there.sum(1), mean)

    def rows(self, images: Sequence[str]) -> pd.DataFrame:
        """As a table: by layer and set ``n`` (images), ``total, squares``; and by ``image`` (layer
        ``ALL``) and set its mean as ``total``."""
        by_layer = [
            (layer, name, "", self.images[layer, i], self.total[layer, i], self.squares[layer, i])
            for layer in range(len(self.total))
            for i, name in enumerate(SETS)
        ]
        by_image = [
            (ALL, name, image, 1.0, mean[i], None)
            for image, mean in zip(images, self.mean, strict=True)
            for i, name in enumerate(SETS)
        ]
        columns = ["layer", "set", "image", "n", "total", "squares"]
        return pd.DataFrame(by_layer + by_image, columns=columns)

    @classmethod
    def from_rows(cls, rows: pd.DataFrame) -> "DimensionProfiles":
        """From the rows of several batches, one after the other."""
        by_image = np.stack(rows.loc[rows["layer"] == ALL, "total"].to_list())
        by_layer = rows[rows["layer"] != ALL]
        layers = int(by_layer["layer"].max()) + 1

        def total(name: str) -> ndarray:
            values = np.asarray(by_layer[name].to_list())
            summed: ndarray = values.reshape(-1, layers, len(SETS), *values.shape[1:]).sum(0)
            return summed

        mean = by_image.reshape(-1, len(SETS), by_image.shape[1])
        return cls(total("total"), total("squares"), total("n"), mean)

    def moments(
        self, layer: int, name: str
    ) -> tuple[Float[ndarray, " dim"], Float[ndarray, " dim"]]:
        """Mean over images, and its standard error; zero where one image is all there is."""
        i = SETS.index(name)
        n = max(float(self.images[layer, i]), 1.0)
        mean = self.total[layer, i] / n
        variance = np.clip(self.squares[layer, i] / n - mean**2, 0, None)
        return mean, np.sqrt(variance / max(n - 1, 1))
