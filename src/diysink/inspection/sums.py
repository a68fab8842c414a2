"""Sums over images, with bootstrap replicates: all that is kept of what was measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from diysink.artifact import atomic_path, load_tensors
from diysink.sinks import bootstrap_weights

Values = Float[np.ndarray, "places rows"]


@dataclass
class Sums:
    """Means over images of one number an image and place (a layer, or the whole model).

    Row 0 is the data, the others are Poisson replicates over images, as in
    `diysink.sinks.bootstrap_weights`: the same draws as those of the encoder's census.

    Attributes:
        replicates: of the bootstrap.
        seed: of the bootstrap.
        tables: ``name/sum`` and ``name/weight``, float64.
        count: images so far.
        chain: digest of their contents, in order.
    """

    replicates: int
    seed: int
    tables: dict[str, Float[Tensor, "places rows"]] = field(default_factory=dict)
    count: int = 0
    chain: str = ""

    settled = True  # nothing is chosen on the first images

    def begin(self) -> "Sums":
        """No image yet."""
        return Sums(self.replicates, self.seed)

    def add_sums(self, other: "Sums") -> None:
        """Add the sums of more images."""
        for key, table in other.tables.items():
            self.tables[key] = self.tables[key] + table if key in self.tables else table

    def add(self, image: str, values: Mapping[str, Float[Tensor, " places"]]) -> None:
        """Add one image; `Pass` counts it.

        Args:
            image: SHA-256 of its file.
            values: by name; NaN where the image has none.
        """
        weights = bootstrap_weights([image], self.replicates, self.seed)[0].double()
        for name, value in values.items():
            number = value.detach().double().cpu()
            there = number.isfinite()
            for kind, part in (("sum", number.where(there, 0.0)), ("weight", there.double())):
                table = torch.outer(part, weights)
                key = f"{name}/{kind}"
                self.tables[key] = self.tables[key] + table if key in self.tables else table

    @property
    def names(self) -> list[str]:
        """What was measured."""
        return [key.removesuffix("/sum") for key in self.tables if key.endswith("/sum")]

    def mean(self, name: str) -> Values:
        """Mean over images at each place; NaN where no image has a number."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean: Values = (
                self.tables[f"{name}/sum"].numpy() / self.tables[f"{name}/weight"].numpy()
            )
        return mean

    def part(self, start: str) -> "Sums":
        """Those whose names start like this, without it."""
        tables = {
            key.removeprefix(start): one
            for key, one in self.tables.items()
            if key.startswith(start)
        }
        return Sums(self.replicates, self.seed, tables, self.count, self.chain)

    def save(self, path: Path) -> None:
        """Write all of it as one file, atomically."""
        facts = {key: getattr(self, key) for key in ("replicates", "seed", "count", "chain")}
        with atomic_path(path) as temporary:
            save_file(self.tables, temporary, metadata={"facts": json.dumps(facts)})

    @classmethod
    def load(cls, path: Path) -> "Sums":
        """Read what `save` wrote.

        Raises:
            BrokenFileError: missing or damaged.
        """
        tables = load_tensors(path)
        with safe_open(str(path), "pt") as file:
            facts = json.loads(file.metadata()["facts"])
        return cls(tables=tables, **facts)
