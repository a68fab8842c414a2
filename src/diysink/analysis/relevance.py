"""Where a token is looked at from: its column of the ViT's attention, folded back onto the grid.

Column j of an attention matrix says which patches take something from token j. The paper shows such
maps of sinks (broad) and of other tokens (local). Two numbers say as much of thousands of images:
the spatial entropy of the map (1: every patch alike, 0: one patch alone) and the share of it that
lies inside the image's objects, where their boxes are known. Both are compared with as many random
nonsinks of the same image. A map's entropy says how far a token is spread, not that what it
spreads is of any use; that is what probes and ablations ask.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diysink.analysis.layers import connected_encoder
from diysink.architectures import ENCODERS
from diysink.architectures.hooks import on_hidden_states
from diysink.encoders import Encoder
from diysink.model import DIYSinkForConditionalGeneration
from diysink.resampling import interval, resampled_ratios

MEAN = -1  # the "head" that is the mean of a layer's attention over its heads
Maps = Float[Tensor, "images queries tokens"]


def spatial_entropy(maps: Maps) -> Float[Tensor, "images tokens"]:
    """Entropy of each token's map over the patches, over that of an even map."""
    patches = maps.shape[1]
    return torch.special.entr(maps).sum(1) / np.log(patches)


@torch.no_grad()
def each_map(
    model: DIYSinkForConditionalGeneration,
    pixels: Float[Tensor, "images channels height width"],
    see: Callable[[int, int, Maps], None],
) -> None:
    """Show every head's map of every token, and their mean, layer after layer.

    Never more than two heads' matrices are kept at a time.

    Args:
        model: its vision tower up to the layer that feeds the connector is run.
        pixels: the images.
        see: called with layer (from 0: what the first block attends to), head (:data:`MEAN` last)
            and maps: column j is how much of token j's attention comes from each patch, its sum 1.
    """
    encoder = connected_encoder(model)

    def reduce(layer: int, states: Float[Tensor, "images all dim"]) -> None:
        if layer == len(encoder.blocks):
            return  # what leaves the last block; nothing attends to it before the connector
        query, key = _queries_and_keys(encoder, encoder.blocks[layer], states)
        total = torch.zeros((), device=states.device)
        for head in range(encoder.heads):
            scores = query[:, head] @ key[:, head].transpose(-1, -2)
            attention = scores.softmax(-1, dtype=torch.float32)
            patches = attention[:, encoder.prefix :, encoder.prefix :]
            total = total + patches
            see(layer, head, _maps(patches))
        see(layer, MEAN, _maps(total))

    with on_hidden_states(encoder.blocks, reduce):
        model.model.visual_states(pixels.to(model.device, model.dtype))


def _queries_and_keys(
    encoder: Encoder, block: nn.Module, states: Float[Tensor, "images all dim"]
) -> tuple[Float[Tensor, "images heads all width"], Float[Tensor, "images heads all width"]]:
    parts = ENCODERS[encoder.family]
    attention = getattr(block, str(parts.attention))
    normed = getattr(block, parts.norm)(states)
    shape = (*states.shape[:2], encoder.heads, -1)
    query, key = (
        project(normed).view(shape).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj)
    )
    return query * query.shape[-1] ** -0.5, key


def _maps(attention: Float[Tensor, "images queries tokens"]) -> Maps:
    return attention / attention.sum(1, keepdim=True).clamp(min=1e-30)


def relevance_by_image(
    model: DIYSinkForConditionalGeneration,
    pixels: Float[Tensor, "images channels height width"],
    images: Sequence[str],
    tokens: dict[str, Bool[Tensor, "images tokens"]],
    inside: Bool[Tensor, "images tokens"],
) -> pd.DataFrame:
    """Entropy and share inside the objects of each image's maps, mean over the chosen tokens.

    Args:
        model: its vision tower is looked into.
        pixels: the images.
        images: their digests.
        tokens: name and tokens of each set; an image that has none of one has no rows at all.
        inside: patches that show an object; an image without any has no share.

    Returns:
        ``image, layer, head, tokens, entropy, inside, area``: ``area`` is the share of patches
        that show an object, which an even map has inside.
    """
    there = torch.stack([mask.any(1) for mask in tokens.values()]).all(0).numpy()
    named = inside.any(1)
    objects = inside.to(pixels.device).float()
    parts: list[pd.DataFrame] = []

    def see(layer: int, head: int, maps: Maps) -> None:
        entropy = spatial_entropy(maps).cpu()
        share = torch.einsum("bqt,bq->bt", maps, objects.to(maps.device)).cpu()
        share[~named] = torch.nan
        for name, mask in tokens.items():
            part = {
                "image": list(images),
                "layer": layer,
                "head": head,
                "tokens": name,
                "entropy": _mean(entropy, mask).numpy(),
                "inside": _mean(share, mask).numpy(),
                "area": torch.where(named, objects.mean(1).cpu(), torch.nan).numpy(),
            }
            parts.append(pd.DataFrame(part)[there])

    each_map(model, pixels, see)
    return pd.concat(parts, ignore_index=True)


def _mean(
    values: Float[Tensor, "images tokens"], mask: Bool[Tensor, "images tokens"]
) -> Float[Tensor, " images"]:
    return values.masked_fill(~mask, 0).sum(1) / mask.sum(1)


@dataclass(frozen=True)
class RelevanceMap:
    """One token's map, for a figure: ``map`` in raster order, its sum 1."""

    tokens: str
    token: int
    layer: int
    head: int
    map: list[float]


def example_maps(
    model: DIYSinkForConditionalGeneration,
    pixels: Float[Tensor, "one channels height width"],
    chosen: dict[str, int],
) -> list[RelevanceMap]:
    """The maps, mean over heads, of some tokens of one image at every layer.

    Args:
        model: its vision tower is looked into.
        pixels: of one image.
        chosen: a token by the name of its set.
    """
    found: list[RelevanceMap] = []

    def see(layer: int, head: int, maps: Maps) -> None:
        if head == MEAN:
            for name, token in chosen.items():
                values = maps[0, :, token].tolist()
                found.append(RelevanceMap(name, token, layer, head, values))

    each_map(model, pixels, see)
    return found


def relevance_table(
    measured: pd.DataFrame, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Entropy and share inside, by layer and head: of sinks, of matched tokens, the difference.

    Args:
        measured: of :func:`relevance_by_image`, with tokens ``sink`` and ``matched``; several
            batches may be one after the other.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the bootstrap.

    Returns:
        ``layer, head`` (-1: the map of the mean over heads), ``tokens`` (sink, matched, ``sink -
        matched``: paired over images), ``entropy, entropy_low, entropy_high, inside, inside_low,
        inside_high, area, n_images``; ``inside`` and ``area`` are NaN where no box is known.
    """
    rows = []
    for (layer, head), part in measured.groupby(["layer", "head"], sort=True):
        told: dict[str, dict[str, float]] = {name: {} for name in _SETS}
        wide = part.pivot_table(
            index="image", columns="tokens", values=["entropy", "inside"], dropna=False
        )
        for name in ("entropy", "inside"):
            values = wide[name][["sink", "matched"]].dropna().to_numpy(dtype=np.float64)
            estimate = _estimates(values, resamples, level, seed)
            for at, tokens in enumerate(_SETS):
                told[tokens] |= dict(
                    zip((name, f"{name}_low", f"{name}_high"), estimate[:, at], strict=True)
                )
        for tokens in _SETS:
            rows.append(
                {
                    "layer": layer,
                    "head": head,
                    "tokens": tokens,
                    **told[tokens],
                    "area": part["area"].mean(),
                    "n_images": len(wide),
                }
            )
    return pd.DataFrame(rows)


_SETS = ("sink", "matched", "sink - matched")


def _estimates(
    values: Float[np.ndarray, "images two"], resamples: int, level: float, seed: int
) -> Float[np.ndarray, "three three"]:
    """Value, low, high (rows) of both columns and of their difference (columns)."""
    if not len(values):
        return np.full((3, 3), np.nan)
    contrast = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, -1.0]])
    drawn = resampled_ratios(values, np.ones_like(values), resamples=resamples, seed=seed)
    low, high = interval(drawn @ contrast, level)
    return np.stack([values.mean(0) @ contrast, low, high])
