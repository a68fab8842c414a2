"""Where the patches of the largest norm and of most attention are: at one place, or by content."""

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from diysink.census.layer import SeenLayer
from diysink.census.metrics.base import Metric, Quantity, Rows, Tables
from diysink.sinks import evenness


class Places(Metric):
    """Positions and contrast of one patch an image: of the largest norm, and of most attention."""

    columns = (
        Quantity(
            "largest_norm_places",
            "places, largest norm",
            "At how many different places the largest-norm patch is (effective number), over the "
            "same for random places. Near 1: any place. Near 0: always the same places.",
            "Hill (1973)",
        ),
        Quantity(
            "largest_norm_contrast",
            "contrast, largest norm",
            "Contrast of the pixels under the largest-norm patch, over the mean of its image. "
            "Below 1: it is on plain background.",
            "2309.16588",
        ),
        Quantity(
            "attended_places",
            "places, attended",
            "The same for the patch that receives the most attention.",
            "Hill (1973)",
        ),
        Quantity(
            "attended_contrast",
            "contrast, attended",
            "The same for the patch that receives the most attention.",
            "2309.16588",
        ),
    )

    def tables(self, seen: SeenLayer, weights: Float[Tensor, "batch rows"]) -> Tables:
        """Counts by position, and sums of contrast."""
        found: Tables = {}
        for name, patch in chosen(seen).items():
            patch = patch.to(weights.device)
            count = weights.new_zeros(seen.norms.shape[1], weights.shape[1])
            found[f"{name} positions"] = count.index_add_(0, patch, weights).T.contiguous()
            contrast = seen.contrast.to(weights.device).gather(1, patch[:, None])[:, 0]
            found[f"{name} contrast"] = contrast.double() @ weights
        return found

    def values(self, tables: Tables) -> dict[str, Rows]:
        """Evenness over positions, and mean contrast.

        A replicate draws images with repetition, and so has fewer places: the replicates of the
        evenness are moved so that their mean is the value.
        """
        found: dict[str, Rows] = {}
        for name in ("largest_norm", "attended"):
            if f"{name} positions" not in tables:
                continue
            counts = tables[f"{name} positions"].numpy()
            images = counts.sum(1)
            places = np.array([evenness(row) if row.any() else np.nan for row in counts])
            places[1:] += places[0] - np.nanmean(places[1:])
            found[f"{name}_places"] = places
            with np.errstate(invalid="ignore"):
                found[f"{name}_contrast"] = tables[f"{name} contrast"].numpy() / images
        return found


def chosen(seen: SeenLayer) -> Mapping[str, Int[Tensor, " batch"]]:
    """The largest-norm patch of every image, and the most attended one where attention is seen."""
    largest_norm = {"largest_norm": seen.norms.argmax(1)}
    if seen.received is None:
        return largest_norm
    return largest_norm | {"attended": seen.received[:, seen.prefix :].argmax(1)}


def other_patch(seen: SeenLayer, patch: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """For every image another patch than this one, drawn by the image's name."""
    count = seen.norms.shape[1]
    drawn = [
        int.from_bytes(hashlib.sha256(image.encode()).digest()[:6], "big") for image in seen.images
    ]
    step = 1 + torch.tensor(drawn, device=patch.device) % max(1, count - 1)
    return (patch + step) % count
