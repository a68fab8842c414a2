"""Mergeable statistics of token norms over images: integers only, so that adding is exact.

Everything is a count or a fixed-point sum in int64. Merging is addition: the result is the same
to the last bit for any order, any split into shards, any number of workers. The size does not grow
with the number of images, not even for the bootstrap: it is a *Poisson bootstrap over images*
folded into the counts. An image's weight in a replicate is a Poisson(1) number drawn from a hash of
its content, so whoever meets the image, wherever, draws the same weights, and copies of one image
stay together. Row 0 of every replicated table has weight 1 throughout: the data themselves.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from diysink.artifact import (
    BrokenFileError,
    atomic_path,
    digest_json,
    digest_tensors,
    load_tensors,
)
from diysink.sinks.criteria import has_massive_activation, token_norms
from diysink.sinks.layout import BINS, MOST_COUNTED, REACH, Layout

SCALE = 2**20  # fixed point: one unit is a millionth, about
NORM_TABLES = ("images", "norms", "octaves", "counts", "drops")  # what norms alone give
DIM_TABLES = ("energy", "massive")  # what looks at the dimensions of the states
POISSON = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(12)])


class NonFiniteError(ValueError):
    """An encoder gave infinite or undefined hidden states."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """What is known of all tokens seen so far.

    Attributes:
        layout: the grid and the shapes.
        tables: int64 tensors by name; R is replicates + 1, B bins, P patches, D the width.
            ``images`` (R): weights of the images. ``norms`` (R, B): tokens by norm. ``octaves``:
            tokens by octave of the norm (`Layout.octaves`), those beyond the grid too.
            ``attention``, ``contrast`` (R, B): by norm, fixed-point sums of attention received
            over its even share, and of the patch's pixel contrast over its image's mean.
            ``counts`` (B, most + 1): images by how many tokens are at or above the bin's lower
            edge. ``positions`` (B, P): tokens by norm and patch. ``energy`` (B, D): by norm,
            fixed-point sums of each dimension's share of the squared norm. ``massive`` (B): tokens
            with a massive activation. ``drops`` (R, B): images by the edge in the middle of the
            largest drop between their sorted norms (`largest_drop`).
            Where the layout is of norms alone: the tables of ``NORM_TABLES`` only; where it has no
            ``dim``: no ``energy`` and no ``massive``.
    """

    layout: Layout
    tables: Mapping[str, Tensor]

    def __add__(self, other: "Statistics") -> "Statistics":
        """Both together.

        Raises:
            ValueError: the layouts differ.
        """
        if self.layout != other.layout:
            raise ValueError(
                f"Statistics on different grids cannot be added: {self.layout} and {other.layout}."
            )
        pairs = {name: table + other.tables[name] for name, table in self.tables.items()}
        return Statistics(self.layout, pairs)

    @property
    def images(self) -> int:
        """Images seen."""
        return int(self.tables["images"][0])

    @property
    def digest(self) -> str:
        """SHA-256 of the layout and of every number."""
        return digest_json([self.layout.to_dict(), digest_tensors(self.tables)])

    def save(self, path: Path | str) -> None:
        """Write as safetensors, atomically."""
        with atomic_path(path) as temporary:
            metadata = {"layout": json.dumps(self.layout.to_dict(), sort_keys=True)}
            save_file(dict(self.tables), temporary, metadata=metadata)

    @classmethod
    def load(cls, path: Path | str) -> "Statistics":
        """Read what `save` wrote.

        Raises:
            BrokenFileError: missing, damaged, or not statistics.
        """
        tensors = load_tensors(path)
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
        try:
            layout = Layout(**json.loads(metadata["layout"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenFileError(
                path, f"not statistics of norms ({error!r}). Measure the encoder again"
            ) from error
        known = cls.empty(layout).tables
        if {name: table.shape for name, table in tensors.items()} != {
            name: table.shape for name, table in known.items()
        }:
            raise BrokenFileError(
                path,
                "statistics of norms of another version of this program. Measure the encoder again",
            )
        return cls(layout, tensors)

    @classmethod
    def empty(cls, layout: Layout) -> "Statistics":
        """Of no image."""
        replicated, norms = layout.replicates + 1, BINS
        shapes = {
            "images": (replicated,),
            "norms": (replicated, norms),
            "octaves": (2 * REACH + 2,),
            "attention": (replicated, norms),
            "contrast": (replicated, norms),
            "counts": (norms, MOST_COUNTED + 1),
            "positions": (norms, layout.positions),
            "energy": (norms, layout.dim),
            "massive": (norms,),
            "drops": (replicated, norms),
        }
        if layout.norms_alone:
            shapes = {name: shapes[name] for name in NORM_TABLES}
        if layout.dim == 0:
            shapes = {name: shape for name, shape in shapes.items() if name not in DIM_TABLES}
        zeros = {name: torch.zeros(shape, dtype=torch.int64) for name, shape in shapes.items()}
        return cls(layout, zeros)


def total(parts: Iterable[Statistics], layout: Layout) -> Statistics:
    """All parts together; of no image if there are none."""
    return sum(parts, start=Statistics.empty(layout))


def measure(
    layout: Layout,
    hidden: Float[Tensor, "batch tokens dim"],
    attention: Float[Tensor, "batch tokens"],
    contrast: Float[Tensor, "batch tokens"],
    images: Sequence[str],
) -> Statistics:
    """Statistics of one batch.

    Args:
        layout: the grid.
        hidden: states at the layer, patches only, in raster order.
        attention: received by each patch, over its even share.
        contrast: of each patch's pixels, over its image's mean.
        images: SHA-256 of each image's file, or another name that stands for its content.

    Raises:
        NonFiniteError: a hidden state is not finite. Such an image is not counted and passed over:
            an encoder that does this is broken, or its dtype is too narrow.
        ValueError: the batch does not fit the layout.
    """
    batch, tokens, dim = hidden.shape
    if (tokens, layout.dim or dim, len(images)) != (layout.positions, dim, batch):
        raise ValueError(
            f"A batch of {len(images)} images with hidden states {batch} x {tokens} x {dim} does "
            f"not fit a grid of {layout.rows} x {layout.columns} patches and width {layout.dim}. "
            "All images must be prepared to one size."
        )
    norms = layout.counted(token_norms(hidden))
    good = (norms.isfinite() & attention.isfinite()).all(dim=1)
    if not good.all():
        first = images[int((~good).nonzero()[0, 0])]
        raise NonFiniteError(
            f"The encoder gave infinite or undefined hidden states on {int((~good).sum())} of "
            f"{batch} images (the first is {first[:16]}). Measure it in a wider dtype (float32 or "
            "bfloat16 in place of float16), or look at that image."
        )
    place = layout.bins(norms)
    place, norms = place.cpu(), norms.cpu()

    row = torch.arange(batch)[:, None]
    each = (row * BINS + place).flatten()  # (image, bin) of every token
    by_image = torch.bincount(each, minlength=batch * BINS).view(batch, BINS)
    position = (place * tokens + torch.arange(tokens)).flatten()
    weights = bootstrap_weights(images, layout.replicates, layout.seed)
    return Statistics(
        layout,
        {
            **norm_tables(layout, norms.flatten(), by_image, largest_drop(layout, norms), weights),
            "attention": _replicate(weights, _sums(each, attention, batch)),
            "contrast": _replicate(weights, _sums(each, contrast, batch)),
            "positions": torch.bincount(position, minlength=BINS * tokens).view(BINS, tokens),
            **({} if layout.dim == 0 else dimension_tables(hidden, place)),
        },
    )


def dimension_tables(
    hidden: Float[Tensor, "batch tokens dim"], place: Int[Tensor, "batch tokens"]
) -> dict[str, Int[Tensor, "bins ..."]]:
    """The tables of `DIM_TABLES`.

    Args:
        hidden: states at the layer.
        place: each token's bin, on the CPU.
    """
    squares = hidden.detach().float().square()
    share = squares / squares.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    energy = torch.zeros(BINS, hidden.shape[-1], dtype=torch.int64, device=hidden.device)
    energy.index_add_(0, place.flatten().to(hidden.device), _fixed(share).flatten(0, 1))
    massive = place[has_massive_activation(hidden).cpu()]
    return {"energy": energy.cpu(), "massive": torch.bincount(massive, minlength=BINS)}


def norm_tables(
    layout: Layout,
    norms: Float[Tensor, " tokens"],
    by_image: Int[Tensor, "batch bins"],
    drops: Int[Tensor, " batch"],
    weights: Int[Tensor, "batch rows"],
) -> dict[str, Int[Tensor, "..."]]:
    """The tables of `NORM_TABLES`.

    Args:
        layout: the grid.
        norms: of all images' tokens together, as the grid counts them.
        by_image: each image's tokens by norm.
        drops: the edge in the middle of each image's largest drop.
        weights: of each image, as `bootstrap_weights` gives them.
    """
    above = by_image.flip(1).cumsum(1).flip(1).clamp(max=MOST_COUNTED)
    return {
        "images": weights.sum(0),
        "norms": _replicate(weights, by_image),
        "octaves": torch.bincount(layout.octaves(norms), minlength=2 * REACH + 2),
        "drops": _replicate(weights, torch.nn.functional.one_hot(drops, BINS)),
        "counts": _pairs(torch.arange(BINS).expand_as(above), above, BINS, MOST_COUNTED + 1),
    }


def bootstrap_weights(
    images: Sequence[str], replicates: int, seed: int
) -> Int[Tensor, "batch rows"]:
    """Poisson(1) weights of each image in each replicate, after a first column of ones.

    A pure function of (image, seed), written out here so that no library's next version changes it.
    """
    drawn = [
        np.frombuffer(
            hashlib.shake_256(f"{seed}:{image}".encode()).digest(4 * replicates), dtype="<u4"
        )
        for image in images
    ]
    uniform = np.stack(drawn).astype(np.float64) / 2**32
    weights = np.searchsorted(POISSON, uniform, side="right").astype(np.int64)
    ones = np.ones((len(images), 1), dtype=np.int64)
    return torch.from_numpy(np.concatenate([ones, weights], axis=1))


def patch_contrast(
    pixels: Float[Tensor, "batch channels height width"], rows: int, columns: int
) -> Float[Tensor, "batch tokens"]:
    """Standard deviation of each patch's pixels (root mean square over channels), relative.

    Divided by its mean over the image's patches: 1 where a patch has as much detail as the average
    patch of its image. An image without any detail gives 1 throughout.
    """
    batch, channels, height, width = pixels.shape
    tall, wide = height // rows, width // columns
    cut = pixels[:, :, : rows * tall, : columns * wide].float()
    patches = cut.reshape(batch, channels, rows, tall, columns, wide).permute(0, 2, 4, 1, 3, 5)
    each = patches.reshape(batch, rows * columns, channels, tall * wide)
    # In two passes by hand: torch's own variance takes as long as a small encoder.
    centred = each - each.mean(dim=-1, keepdim=True)
    spread = centred.square().mean(dim=(2, 3)).sqrt()
    mean = spread.mean(dim=1, keepdim=True)
    return torch.where(mean > 0, spread / mean, torch.ones_like(spread))


def _fixed(values: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
    return (values * SCALE).round().to(torch.int64)


def _sums(
    each: Int[Tensor, " tokens"], values: Float[Tensor, "batch places"], batch: int
) -> Int[Tensor, "batch bins"]:
    sums = torch.zeros(batch * BINS, dtype=torch.int64)
    return sums.index_add_(0, each, _fixed(values.detach().cpu()).flatten()).view(batch, BINS)


def _replicate(
    weights: Int[Tensor, "batch rows"], values: Int[Tensor, "batch bins"]
) -> Int[Tensor, "rows bins"]:
    # In float64, whose integers are exact to 2^53: a batch's sums stay far below, BLAS is fast.
    return (weights.double().T @ values.double()).to(torch.int64)


def _pairs(
    first: Int[Tensor, "..."], second: Int[Tensor, "..."], rows: int, columns: int
) -> Int[Tensor, "rows columns"]:
    joint = (first * columns + second).flatten()
    return torch.bincount(joint, minlength=rows * columns).view(rows, columns)


def largest_drop(layout: Layout, norms: Float[Tensor, "batch tokens"]) -> Int[Tensor, " batch"]:
    """Where each image's sorted norms drop most, within their upper half.

    Args:
        layout: the grid.
        norms: as the grid counts them.

    Returns:
        The edge nearest to the geometric middle of the two norms on either side of the largest
        ratio between neighbours; of an image of one token, that token's.
    """
    ordered = norms.double().sort(dim=1, descending=True).values
    if norms.shape[1] == 1:  # without a neighbour
        return layout.between(norms[:, 0], norms[:, 0])
    upper = ordered[:, : max(1, norms.shape[1] // 2)]
    lower = ordered[:, 1 : upper.shape[1] + 1]
    place = (upper / lower.clamp(min=torch.finfo(torch.float32).tiny)).argmax(1, keepdim=True)
    return layout.between(lower.gather(1, place)[:, 0], upper.gather(1, place)[:, 0])
