"""The card: what a census found, as one versioned JSON file, with its replicates beside it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save_file

from diysink.artifact import (
    BrokenFileError,
    atomic_path,
    digest_json,
    load_json,
    load_tensors,
    write_json,
)
from diysink.census.metrics import METRICS, Quantity, Rows
from diysink.census.metrics.neurons import told
from diysink.census.metrics.norms import LARGEST
from diysink.census.quantities import QUANTITIES
from diysink.census.totals import Totals
from diysink.census.verdict import Verdict, judge
from diysink.encoders import EncoderIdentity
from diysink.resampling import never_certain
from diysink.sinks import CalibrationSettings, SinkProfile, calibrate

VERSION = 1
KIND, SWEEP = "diysink census", "diysink sweep"
CARD, REPLICATES = "card.json", "replicates.safetensors"


@dataclass(frozen=True)
class Card:
    """What a census found, or a sweep over input sizes (`diysink.census.sweep`).

    Attributes:
        plain: as JSON (``docs/guides/inspect.md`` explains every key).
        replicates: of each value, by layer (of a sweep: by size): row 0 is the value, the others
            are bootstrap replicates over images. Empty where they were not kept.
    """

    plain: dict[str, Any]
    replicates: Mapping[str, Float[np.ndarray, "places rows"]]

    @property
    def is_sweep(self) -> bool:
        """Whether it is of several input sizes."""
        return bool(self.plain["kind"] == SWEEP)

    @property
    def lines(self) -> list[str]:
        """The verdict, in sentences."""
        return [str(line) for line in self.plain["verdict"]["lines"]]

    @property
    def digest(self) -> str:
        """SHA-256 of all that it says."""
        return digest_json(self.plain)

    def save(self, folder: Path | str) -> None:
        """Write ``card.json`` and ``replicates.safetensors`` into a folder."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        tensors = {
            name: torch.from_numpy(rows.astype(np.float32))
            for name, rows in self.replicates.items()
        }
        with atomic_path(place / REPLICATES) as temporary:
            save_file(tensors, temporary)
        write_json(place / CARD, self.plain)

    @classmethod
    def load(cls, path: Path | str) -> "Card":
        """Read a card: its folder, or the JSON file, with or without its replicates.

        Raises:
            BrokenFileError: missing, damaged, no card, or of another version.
        """
        place = Path(path)
        file = place / CARD if place.is_dir() else place
        plain = load_json(file)
        if not isinstance(plain, dict) or plain.get("kind") not in (KIND, SWEEP):
            raise BrokenFileError(file, "not the card of a census. Make one with diysink inspect")
        if plain.get("version") != VERSION:
            raise BrokenFileError(
                file,
                f"a card of version {plain.get('version')}; this program reads version {VERSION}. "
                "Measure again",
            )
        beside = file.with_name(REPLICATES)
        tensors = load_tensors(beside) if beside.exists() else {}
        return cls(plain, {name: tensor.double().numpy() for name, tensor in tensors.items()})


def make_card(totals: Totals, about: Mapping[str, Any], layers: list[int]) -> Card:
    """The card of all sums.

    Args:
        totals: of all images.
        about: what is known beside them: ``model``, ``images``, ``software``.
        layers: that were measured.
    """
    profiles: dict[int, SinkProfile] = {}
    replicates: dict[str, list[Rows]] = {}
    found: list[dict[str, Any]] = []
    length = next(iter(totals.norms.values())).layout.replicates + 1
    for place, layer in enumerate(layers):
        identity = EncoderIdentity(about["model"]["name"], "", layer, about["model"]["family"])
        profile = profiles[layer] = calibrate(totals.norms[layer], identity, CalibrationSettings())
        values = {
            "sinks_per_image": _sinks_per_image(totals, layer, profile),
            "images_with_sinks": _images_with_sinks(totals, layer, profile),
        }
        for name, metric in METRICS.items():
            if tables := totals.of(layer, name):
                values |= metric.values(tables)
        for name, value in values.items():
            empty = [np.full(length, np.nan)] * place
            replicates.setdefault(name, empty.copy()).append(value)
        for name in replicates.keys() - values.keys():
            replicates[name].append(np.full(length, np.nan))
        images = int(totals.norms[layer].tables["images"][0])
        metrics = {"tau": _tau(profile)} | {
            name: cell(rows, QUANTITIES[name], images) for name, rows in values.items()
        }
        found.append({"layer": layer, "metrics": metrics, "threshold": _evidence(profile)})
        if (units := totals.units.get(layer)) is not None:
            found[-1]["neurons"] = told(units, totals.of(layer, "neurons"))
    verdict: Verdict = judge(found, profiles, about["model"])
    plain = {
        "kind": KIND,
        "version": VERSION,
        **about,
        "verdict": json.loads(json.dumps(asdict(verdict))),
        "layers": found,
    }
    return Card(plain, {name: np.stack(each) for name, each in replicates.items()})


def cell(rows: Rows, quantity: Quantity | None = None, images: int = 0) -> dict[str, float] | None:
    """A value with its 95 % interval over images; None where there is none.

    Args:
        rows: the value, then that of each replicate.
        quantity: what it is. A share that is 0 or 1 in every replicate is not certain: see
            `diysink.resampling.never_certain`.
        images: over how many images.
    """
    if not np.isfinite(rows[0]):
        return None
    drawn = rows[1:][np.isfinite(rows[1:])]
    low, high = np.percentile(drawn, (2.5, 97.5)) if drawn.size else (np.nan, np.nan)
    if quantity is not None and quantity.unit == "share" and images:
        (low,), (high,) = never_certain(np.array([low]), np.array([high]), images, 0.95)
    return {
        name: float(f"{number:.6g}")
        for name, number in (("value", rows[0]), ("low", low), ("high", high))
    }


def _sinks_per_image(totals: Totals, layer: int, profile: SinkProfile) -> Rows:
    """How many patches are at or beyond tau, in the data and in each replicate."""
    statistics = totals.norms[layer]
    images = np.maximum(statistics.tables["images"].numpy(), 1)
    if profile.tau is None:
        return np.zeros(images.size)
    edge = statistics.layout.nearest_edge(profile.tau)
    return statistics.tables["norms"][:, edge:].sum(1).numpy() / images


def _images_with_sinks(totals: Totals, layer: int, profile: SinkProfile) -> Rows:
    """The share of images with a patch at or beyond tau, in the data and in each replicate."""
    statistics = totals.norms[layer]
    images = np.maximum(statistics.tables["images"].numpy(), 1)
    if profile.tau is None:
        return np.zeros(images.size)
    edge = statistics.layout.nearest_edge(profile.tau)
    return totals.of(layer, "norms")[LARGEST][:, edge:].sum(1).numpy() / images


def _tau(profile: SinkProfile) -> dict[str, float] | None:
    if profile.tau is None:
        return None
    low, high = profile.interval or (profile.tau, profile.tau)
    return {"value": profile.tau, "low": low, "high": high}


def _evidence(profile: SinkProfile) -> dict[str, Any]:
    return {
        "tau": profile.tau,
        "evidence": [
            {"question": one.name, "passed": one.passed, "value": one.value, "says": one.says}
            for one in profile.evidence
        ],
    }
