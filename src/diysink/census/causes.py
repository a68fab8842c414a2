"""What gives the largest-norm patch its norm: its place, its key, or the attention that it gets.

Each question is one intervention on the patch with the largest norm of every image, next to the
same intervention elsewhere (the control), on the same images:

- *position*: the added position embeddings of the patch and of a random other place are swapped.
  Control: those of two random other places.
- *key direction*, *key magnitude*: in every block and head the patch's key gets the direction of
  another patch's key and keeps its length; or gets that length and keeps its direction. Control:
  a random other patch's key.
- *attention blocked*: no token attends to the patch, in any block. Control: to a random other.

A sink that moves has a lower norm at the patch, and the same largest norm.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import normalize

from diysink.architectures import Change
from diysink.architectures.hooks import after_forward
from diysink.census.card import cell
from diysink.census.layer import Walk
from diysink.encoders import Encoder
from diysink.sinks import bootstrap_weights

IMAGES = 64  # each is run nine times
METRICS = ("norm_ratio", "norm_at_patch", "concentration", "attention_at_patch")
"""Largest norm over the median norm of the patches; the largest-norm patch's norm over that median;
`concentration` of the census; attention that the patch gets, over an even share."""
INTERVENTIONS = ("position", "key direction", "key magnitude", "attention blocked")

Batches = Iterable[tuple[Tensor, Sequence[str]]]
Values = Float[Tensor, "layers metrics batch"]


@dataclass
class Runs:
    """What was seen of all images: untouched, and under each intervention and its control.

    Attributes:
        values: run to its values, one part a batch.
        images: names of the images' content.
        skipped: interventions that this encoder cannot be asked, with the reason.
        positions: what position embeddings add to each token, or why it is not known.
    """

    values: dict[tuple[str, bool], list[Values]] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    positions: Float[Tensor, "tokens dim"] | str | None = None


def find_causes(
    walk: Walk, batches: Batches, layer: int, replicates: int, seed: int
) -> dict[str, Any]:
    """Run all interventions.

    Args:
        walk: of the encoder.
        batches: pixel values, as the encoder is given them, and names of the images' content.
        layer: whose largest-norm patch it is about.
        replicates: of the bootstrap over images.
        seed: of the bootstrap.

    Returns:
        Of the card: ``causes``, means over images of the differences to the untouched run; and
        ``causes_about``: ``images``, ``layer``, ``skipped`` and the values ``untouched``.
    """
    runs = Runs()
    for pixels, names in batches:
        _add(runs, walk, pixels, names, layer)
    weights = bootstrap_weights(runs.images, replicates, seed).double().numpy()
    every = {run: torch.cat(parts, -1).double().numpy() for run, parts in runs.values.items()}
    plain = every.pop(("untouched", False))
    return {
        "causes": [
            row
            for (name, control), values in every.items()
            for row in _rows(
                values - plain,
                weights,
                {"intervention": name, "control": control},
                None if control else values - every[name, True],
            )
        ],
        "causes_about": {
            "images": len(runs.images),
            "layer": layer,
            "skipped": runs.skipped,
            "untouched": _rows(plain, weights, {}, None),
        },
    }


def largest_norm_layer(layers: Iterable[Mapping[str, Any]]) -> int:
    """The layer of a card at which the largest norm is farthest above the median.

    >>> norms = [{"norm_max": {"value": v}, "norm_median": {"value": 2}} for v in (3, 9, 4)]
    >>> largest_norm_layer({"layer": n, "metrics": one} for n, one in enumerate(norms))
    1
    """

    def ratio(layer: Mapping[str, Any]) -> float:
        largest, median = (layer["metrics"][name] for name in ("norm_max", "norm_median"))
        return largest["value"] / median["value"] if median and median["value"] > 0 else 0.0

    return int(max(layers, key=ratio)["layer"])


@torch.no_grad()
def _add(
    runs: Runs,
    walk: Walk,
    pixels: Float[Tensor, "batch channels height width"],
    names: Sequence[str],
    layer: int,
) -> None:
    encoder = walk.encoder
    untouched = _seen(walk, pixels, names)
    patch = untouched[layer][0].argmax(1)
    count = untouched[layer][0].shape[1]
    runs.images += names
    runs.values.setdefault(("untouched", False), []).append(_values(untouched, patch))
    if count < 4:
        runs.skipped |= dict.fromkeys(INTERVENTIONS, "fewer than four patches: no other places")
        return
    other, first, second = _others(names, patch, count)
    if runs.positions is None:  # all images are of one size
        runs.positions = added_positions(encoder, pixels)
    if isinstance(runs.positions, str):
        runs.skipped["position"] = runs.positions
    if any(received is None for _, received in untouched[1:]):
        runs.skipped |= dict.fromkeys(INTERVENTIONS[1:], "its attention is not seen")
    for name in (one for one in INTERVENTIONS if one not in runs.skipped):
        for control, at, by in ((False, patch, other), (True, first, second)):
            at, by = at + encoder.prefix, by + encoder.prefix
            if isinstance(runs.positions, Tensor) and name == "position":
                swap = swapped(runs.positions, at, by)
                with after_forward(encoder.get_submodule("embeddings"), swap):
                    found = _seen(walk, pixels, names)
            else:
                found = _seen(walk, pixels, names, changed_key(name, at, by))
            runs.values.setdefault((name, control), []).append(_values(found, patch))


Seen = list[tuple[Float[Tensor, "batch patches"], Float[Tensor, "batch tokens"] | None]]


def _seen(walk: Walk, pixels: Tensor, names: Sequence[str], change: Change | None = None) -> Seen:
    """Norms of the patches and attention of all tokens, at every layer."""
    blank = torch.ones(len(pixels), math.prod(walk.encoder.grid(pixels)), device=pixels.device)
    no_units = dict.fromkeys(range(len(walk.encoder.blocks) + 1), torch.empty(0, dtype=torch.long))
    return [(seen.norms, seen.received) for seen in walk(pixels, blank, names, no_units, change)]


def _values(seen: Seen, patch: Int[Tensor, " batch"]) -> Values:
    """The metrics of every image at every layer; NaN where attention is not seen."""
    layers = []
    for norms, received in seen:
        median = norms.sort(1).values[:, (norms.shape[1] - 1) // 2].clamp(min=1e-20)
        there = norms.gather(1, patch[:, None])[:, 0]
        found = [norms.amax(1) / median, there / median]
        if received is None:
            found += [torch.full_like(there, torch.nan)] * 2
        else:
            tokens = received.shape[1]
            token = patch + tokens - norms.shape[1]
            uneven = received.amax(1) / received.median(1).values
            found += [uneven, tokens * received.gather(1, token[:, None])[:, 0]]
        layers.append(torch.stack(found))
    return torch.stack(layers).float().cpu()


def _others(
    names: Sequence[str], patch: Int[Tensor, " batch"], count: int
) -> tuple[Int[Tensor, " batch"], ...]:
    """For every image three other patches, drawn by the image's name."""
    drawn = []
    for name, one in zip(names, patch.tolist(), strict=True):
        digest = hashlib.sha256(name.encode()).digest()
        order = np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(count)
        drawn.append(order[order != one][:3])
    return tuple(torch.from_numpy(np.stack(drawn)).to(patch.device).unbind(1))


def swapped(
    positions: Float[Tensor, "tokens dim"],
    token: Int[Tensor, " batch"],
    other: Int[Tensor, " batch"],
) -> Callable[[Float[Tensor, "batch tokens dim"]], Float[Tensor, "batch tokens dim"]]:
    """A change of first states, in which two tokens have each other's position embedding."""

    def swap(states: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        rows = torch.arange(len(states), device=states.device)
        step = (positions[other] - positions[token]).to(states.dtype)
        changed = states.clone()
        changed[rows, token] += step
        changed[rows, other] -= step
        return changed

    return swap


def changed_key(name: str, token: Int[Tensor, " batch"], other: Int[Tensor, " batch"]) -> Change:
    """A change of one token's key, or of the mask so that no token attends to it."""

    def change(key: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        batch, _, length, _ = key.shape
        rows = torch.arange(batch, device=key.device)
        if name == "attention blocked":
            bias = key.new_zeros(batch, 1, 1, length)
            bias[rows, :, :, token] = -torch.inf
            if mask is not None and mask.dtype == torch.bool:
                return key, mask & (bias == 0)
            bias = bias.expand(-1, -1, length, -1)
            return key, bias if mask is None else mask + bias
        own, theirs = key[rows, :, token], key[rows, :, other]
        kept, taken = (own, theirs) if name == "key magnitude" else (theirs, own)
        changed = key.clone()
        length_of = torch.linalg.vector_norm(taken.float(), dim=-1, keepdim=True)
        changed[rows, :, token] = (normalize(kept.float(), dim=-1) * length_of).to(key.dtype)
        return changed, mask

    return change


class _First(nn.Module):
    """An encoder up to what enters its first block, as a module whose weights can be replaced."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> Tensor:
        return next(self.encoder.hidden_states(pixels))


@torch.no_grad()
def added_positions(
    encoder: Encoder, pixels: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "tokens dim"] | str:
    """What position embeddings add to each token of the embeddings' output; or why not known.

    It is the output less that with the same weights at zero, whichever way the architecture
    interpolates them. If they are added, it is the same for every image.
    """
    names = [
        f"encoder.{name}"
        for name, _ in encoder.named_parameters()
        if name.startswith("embeddings.") and "position_embedding" in name
    ]
    if not names:
        return "no position embeddings are added to its patches"
    weights = {name: torch.zeros_like(encoder.get_parameter(name[8:])) for name in names}
    first = _First(encoder)
    images = torch.stack([torch.zeros_like(pixels[0]), pixels[0]])
    outputs: list[Any] = []
    with after_forward(encoder.get_submodule("embeddings"), outputs.append):
        functional_call(first, {}, (images,))
        functional_call(first, weights, (images,))
    if len(outputs) != 2 or not all(isinstance(one, Tensor) for one in outputs):
        return "its embeddings are made by no single module"
    blank, shown = (outputs[0].float() - outputs[1].float()).unbind(0)
    if len(blank) != encoder.prefix + math.prod(encoder.grid(pixels)):
        return "its embeddings have other tokens than its blocks"
    rounding = 8 * torch.finfo(outputs[0].dtype).eps * outputs[0].abs().amax()
    if (blank - shown).abs().amax() > 0.01 * blank.abs().amax() + rounding:
        return "its position embeddings are not added"
    return blank


def _rows(
    values: Float[np.ndarray, "layers metrics images"],
    weights: Float[np.ndarray, "images rows"],
    what: dict[str, Any],
    beyond: Float[np.ndarray, "layers metrics images"] | None,
) -> list[dict[str, Any]]:
    """Means over images with intervals; ``beyond`` is the difference to the control, as pairs."""
    drawn = weights.sum(0)
    images = np.where(drawn > 0, drawn, np.nan)  # a replicate of no image has no mean
    found: list[dict[str, Any]] = []
    for layer, number in np.ndindex(values.shape[:2]):
        mean = cell(values[layer, number] @ weights / images)
        if mean is None:
            continue
        row = {**what, "layer": layer, "metric": METRICS[number], **mean}
        if beyond is not None:
            row["beyond"] = cell(beyond[layer, number] @ weights / images)
        found.append(row)
    return found
