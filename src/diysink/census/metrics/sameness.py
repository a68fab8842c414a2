"""Whether the largest-norm patch is the same vector in every image."""

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from diysink.census.layer import SeenLayer
from diysink.census.metrics.base import Metric, Quantity, Rows, Tables
from diysink.census.metrics.places import other_patch


class Sameness(Metric):
    """Mean cosine of one patch an image with that of every other image.

    Of unit vectors m_i with weights w_i it is (|sum w m|^2 - sum w^2) / ((sum w)^2 - sum w^2): no
    image is held against itself, nor against its own copies in a replicate.
    """

    columns = (
        Quantity(
            "same_sinks",
            "sameness, largest norm",
            "Mean cosine between the largest-norm patches of different images. Near 1: they are "
            "all the same vector, and say nothing about the image.",
            "2510.04547",
        ),
        Quantity(
            "same_others",
            "sameness, others",
            "Mean cosine between other patches of different images, one of each, drawn at "
            "random. Compare the largest-norm patches with it.",
            "2510.04547",
        ),
    )

    def tables(self, seen: SeenLayer, weights: Float[Tensor, "batch rows"]) -> Tables:
        """Sums of unit vectors, of weights and of their squares."""
        largest_norm = seen.norms.argmax(1)
        found: Tables = {"weight": weights.sum(0), "square": weights.square().sum(0)}
        for name, patch in (("sinks", largest_norm), ("others", other_patch(seen, largest_norm))):
            index = patch[:, None, None].expand(-1, 1, seen.patches.shape[-1])
            unit = normalize(seen.patches.gather(1, index)[:, 0].float(), dim=-1)
            found[name] = weights.T @ unit.double().to(weights.device)
        return found

    def values(self, tables: Tables) -> dict[str, Rows]:
        """NaN of a single image."""
        squares = tables["square"].numpy()
        pairs = tables["weight"].numpy() ** 2 - squares
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                f"same_{name}": np.where(
                    pairs > 0, (tables[name].square().sum(1).numpy() - squares) / pairs, np.nan
                )
                for name in ("sinks", "others")
            }
