"""The sums of all metrics at all layers, which are all that a census keeps of its images."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from jaxtyping import Float, Int
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from diysink.artifact import atomic_path, load_tensors
from diysink.census.layer import SeenLayer
from diysink.census.metrics import METRICS
from diysink.census.metrics.neurons import CHOSEN_ON, at_largest_norm, choose
from diysink.sinks import (
    CalibrationSettings,
    Layout,
    Statistics,
    attention_relative_to_even,
    bootstrap_weights,
    measure,
    measure_norms,
)


@dataclass
class Totals:
    """Sums over the images so far.

    Attributes:
        tables: ``layer/metric/table`` to its sum, float64; rows are the data and each replicate.
        norms: of each layer the histogram of norms with what else calibration asks for.
        choosing: of each layer whose units are not chosen yet, what they are chosen by.
        units: of each layer the units of the MLP that were chosen, and those of the control.
        count: images so far.
        chain: digest of their contents, in order.
    """

    tables: dict[str, Float[Tensor, "rows ..."]] = field(default_factory=dict)
    norms: dict[int, Statistics] = field(default_factory=dict)
    choosing: dict[int, Float[Tensor, " units"]] = field(default_factory=dict)
    units: dict[int, Int[Tensor, " units"]] = field(default_factory=dict)
    count: int = 0
    chain: str = ""

    @property
    def settled(self) -> bool:
        """Whether the units of all layers are chosen."""
        return self.count > 0 and not self.choosing

    def begin(self) -> "Totals":
        """No image yet, but what is chosen so far."""
        return Totals({}, {}, dict(self.choosing), dict(self.units), self.count)

    def add_sums(self, other: "Totals") -> None:
        """Add sums that were begun by these."""
        for key, table in other.tables.items():
            self.tables[key] = self.tables[key] + table if key in self.tables else table
        for layer, found in other.norms.items():
            self.add_norms(layer, found)
        self.choosing, self.units = other.choosing, other.units

    def add(self, seen: SeenLayer, grid: tuple[int, int], replicates: int, seed: int) -> None:
        """Add one layer of a batch; `Pass` counts its images after all layers."""
        seen = self._with_units(seen, seed)
        weights = bootstrap_weights(seen.images, replicates, seed).double()
        self.add_metrics(seen, METRICS, weights)
        bootstrap = {"replicates": replicates, "seed": seed}
        settings = CalibrationSettings()
        if seen.received is None:
            found = measure_norms(settings.layout(**bootstrap), list(seen.norms), seen.images)
        else:
            even = attention_relative_to_even(seen.received[:, seen.prefix :], seen.hidden.shape[1])
            layout = settings.layout(*grid, **bootstrap)
            found = measure(layout, seen.patches, even, seen.contrast, seen.images)
        self.add_norms(seen.number, found)

    def add_metrics(
        self, seen: SeenLayer, names: Iterable[str], weights: Float[Tensor, "batch rows"]
    ) -> None:
        """Add some metrics of one layer, under these weights of the images."""
        for name in names:
            for table, value in METRICS[name].tables(seen, weights).items():
                key = f"{seen.number}/{name}/{table}"
                self.tables[key] = self.tables[key] + value if key in self.tables else value

    def add_norms(self, layer: int, found: Statistics) -> None:
        """Add a histogram of norms of one layer."""
        before = self.norms.get(layer)
        self.norms[layer] = found if before is None else before + found

    def _with_units(self, seen: SeenLayer, seed: int) -> SeenLayer:
        """Choose units of the MLP on the first images; the layer with those that were chosen."""
        if seen.activations is None or seen.units is not None:
            return seen
        layer, first = seen.number, max(0, min(len(seen.images), CHOSEN_ON - self.count))
        found = at_largest_norm(seen)[:first].double().sum(0).cpu()
        self.choosing[layer] = self.choosing.get(layer, 0) + found
        if self.count + len(seen.images) < CHOSEN_ON:
            return replace(seen, activations=None)
        units = self.units[layer] = choose(self.choosing.pop(layer), seed + layer)
        few = seen.activations[..., units.to(seen.activations.device)]
        return replace(seen, activations=few, units=units, chosen_on=first)

    def of(self, layer: int, metric: str) -> dict[str, Float[Tensor, "rows ..."]]:
        """The tables of one metric at one layer."""
        start = f"{layer}/{metric}/"
        return {
            key.removeprefix(start): table
            for key, table in self.tables.items()
            if key.startswith(start)
        }

    def save(self, path: Path) -> None:
        """Write all of it as one file, atomically."""
        tensors = dict(self.tables)
        layouts = {}
        for layer, statistics in self.norms.items():
            layouts[layer] = statistics.layout.to_dict()
            tensors |= {f"norms/{layer}/{name}": t for name, t in statistics.tables.items()}
        for kind, found in (("choosing", self.choosing), ("units", self.units)):
            tensors |= {f"{kind}/{layer}": tensor for layer, tensor in found.items()}
        facts = {"count": self.count, "chain": self.chain, "layouts": layouts}
        with atomic_path(path) as temporary:
            contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
            save_file(contiguous, temporary, metadata={"facts": json.dumps(facts)})

    @classmethod
    def load(cls, path: Path) -> "Totals":
        """Read what `save` wrote.

        Raises:
            BrokenFileError: missing or damaged.
        """
        tensors = load_tensors(path)
        with safe_open(str(path), "pt") as file:
            facts = json.loads(file.metadata()["facts"])
        norms = {
            int(layer): Statistics(Layout(**layout), _under(tensors, f"norms/{layer}/"))
            for layer, layout in facts["layouts"].items()
        }
        choosing, units = (
            {int(layer): t for layer, t in _under(tensors, f"{kind}/").items()}
            for kind in ("choosing", "units")
        )
        tables = {name: t for name, t in tensors.items() if name.split("/")[0].isdigit()}
        return cls(tables, norms, choosing, units, facts["count"], facts["chain"])


def _under(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
