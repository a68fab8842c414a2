"""Register neurons (arXiv 2506.08010): units of an MLP that fire at the largest-norm patch.

Of each block the `COUNT` units are taken that have the largest mean |activation| at the patch with
the largest norm, of the states that this block writes. They are chosen on the first `CHOSEN_ON`
images and measured on all others: the largest of thousands of noisy numbers would be too large on
the images that it was found on. Other units, drawn at random, are the control; in an MLP of
few units they are a little below 1, since those that fire most at the patch are not among them.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from diysink.census.layer import SeenLayer
from diysink.census.metrics.base import Metric, Quantity, Rows, Tables

COUNT, CHOSEN_ON = 10, 16  # units; images


class Neurons(Metric):
    """|activation| at the largest-norm patch over that at others; a ratio of means over images.

    It is measured where units were chosen (`SeenLayer.units`: the chosen, then as many at random).
    """

    columns = (
        Quantity(
            "neuron_ratio",
            "register neurons",
            "How much stronger the ten units of the MLP that fire most at the largest-norm patch "
            "do so there than at other patches. They were chosen on other images. High: a few "
            "units write the sink.",
            "2506.08010",
        ),
        Quantity(
            "neuron_ratio_random",
            "other neurons",
            "The same for as many other units, drawn at random. Compare the chosen with it.",
            "2506.08010",
        ),
    )

    def tables(self, seen: SeenLayer, weights: Float[Tensor, "batch rows"]) -> Tables:
        """Sums of |activation| of each unit: at the largest-norm patch, and mean of the others."""
        if seen.activations is None or seen.units is None:
            return {}
        sizes = seen.activations[:, seen.prefix :].float().abs()
        largest_norm = _at(sizes, seen.norms.argmax(1))
        others = (sizes.sum(1) - largest_norm) / max(1, sizes.shape[1] - 1)
        weights = weights.clone()
        weights[: seen.chosen_on] = 0
        return {
            "largest_norm": weights.T @ largest_norm.double().to(weights.device),
            "others": weights.T @ others.double().to(weights.device),
        }

    def values(self, tables: Tables) -> dict[str, Rows]:
        """Ratios of the chosen and of the random units; NaN where no image was left to measure."""
        half = tables["others"].shape[1] // 2
        found = {}
        for name, part in (("", slice(None, half)), ("_random", slice(half, None))):
            largest_norm, others = (
                tables[key][:, part].sum(1).numpy() for key in ("largest_norm", "others")
            )
            found[f"neuron_ratio{name}"] = _over(largest_norm, others)
        return found


def at_largest_norm(seen: SeenLayer) -> Float[Tensor, "batch units"]:
    """|activation| of each unit at the largest-norm patch of each image.

    Raises:
        ValueError: activations were not seen.
    """
    if seen.activations is None:
        raise ValueError(f"Activations at layer {seen.number} were not seen.")
    patch = seen.prefix + seen.norms.argmax(1)
    return _at(seen.activations, patch).float().abs()


def choose(sums: Float[Tensor, " units"], seed: int) -> Int[Tensor, " chosen"]:
    """The units with the largest sums, largest first, then as many others at random.

    >>> choose(torch.tensor([0.0, 9.0, 1.0]), seed=0)[0]
    tensor(1)
    """
    count = min(COUNT, len(sums) // 2)
    order = sums.argsort(descending=True, stable=True)
    rest = order[count:].sort().values
    drawn = np.random.default_rng(seed).permutation(len(rest))[:count]
    return torch.cat([order[:count], rest[torch.from_numpy(drawn)]])


def told(units: Int[Tensor, " units"], tables: Tables) -> list[dict[str, float | int | None]]:
    """The chosen units, those that fire most first, each with its ratio on the other images."""
    ratios = _over(tables["largest_norm"][0].numpy(), tables["others"][0].numpy())
    return [
        {"unit": int(unit), "ratio": float(f"{ratio:.6g}") if np.isfinite(ratio) else None}
        for unit, ratio in zip(units[: len(units) // 2], ratios, strict=False)
    ]


def _at(
    values: Float[Tensor, "batch tokens units"], token: Int[Tensor, " batch"]
) -> Float[Tensor, "batch units"]:
    return values[torch.arange(len(values), device=values.device), token]


def _over(above: Rows, below: Rows) -> Rows:
    """A quotient; NaN where there is nothing to divide by."""
    quotient: Rows = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
    return quotient
